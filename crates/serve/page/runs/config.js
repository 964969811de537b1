// What runs were told: run.toml, field by field; of several first what differs.

import { clear, el } from "../lib/dom.js";
import { t } from "../lib/words.js";

/** The configs of the shown runs. */
export class Config {
  constructor() {
    this.place = el("div", { class: "table-scroll", tabindex: 0, role: "region", "aria-label": "run.toml" });
    this.note = el("p", { class: "faint" });
    this.node = el("details", { class: "panel runs-config" }, el("summary", null, el("h2", null, t("runs-config"))), this.note, this.place);
  }

  /** @param {import("./store.js").Run[]} runs */
  draw(runs) {
    const signature = JSON.stringify(runs.map((run) => [run.name, run.config]));
    if (signature === this.signature) return;
    this.signature = signature;
    const fields = [];
    for (const run of runs) {
      run.config.forEach(({ field }, i) => {
        if (fields.includes(field)) return;
        const before = fields.indexOf(run.config[i - 1]?.field);
        fields.splice(before + 1, 0, field);
      });
    }
    const value = (run, field) => run.config.find((row) => row.field === field)?.value ?? null;
    const rows = fields.map((field) => {
      const values = runs.map((run) => value(run, field));
      return { field, values, differs: values.some((one) => one !== values[0]) };
    });
    const sorted = [...rows.filter((row) => row.differs), ...rows.filter((row) => !row.differs)];
    const differing = rows.filter((row) => row.differs).length;
    this.note.hidden = runs.length === 1;
    this.note.textContent = differing ? t("runs-differ", { n: differing }) : t("runs-same-config");
    clear(this.place, el("table", null,
      el("caption", { class: "sr-only" }, "run.toml"),
      el("thead", null, el("tr", null, el("th", { scope: "col" }, t("runs-field")), runs.map((run) => el("th", { scope: "col" }, run.name)))),
      el("tbody", null, sorted.map(({ field, values, differs }) => el("tr", { class: differs ? "differs" : null },
        el("th", { scope: "row" }, field), values.map((one) => el("td", { class: "mono" }, one ?? "–")))))));
  }
}
