// What one head looks at, as numbers.

/** Groups from which on the few first rows, which have little to choose from, would make all others dark. */
const LONG = 64;

/** A head's pattern over tokens, syllables or words. */
export class Pattern {
  /**
   * @param {any} view the answer of /lens/attn with a head
   * @param {boolean} hide whether the first group is left out
   */
  constructor(view, hide) {
    this.view = view;
    this.hide = hide;
    this.size = view.groups.length;
  }

  /** What stands in a cell; none above the diagonal, nor of the first group where that is hidden. */
  value(i, j) {
    return j > i || (j === 0 && this.hide) ? null : this.view.weights[i * this.size + j];
  }

  label(group) {
    const { start, end, label } = this.view.groups[group];
    return end - start === 1 ? this.view.tokens[start].label : label;
  }

  /** The first token of a group. */
  start(group) {
    return this.view.groups[group].start;
  }

  /** The group of a token. */
  group(at) {
    const found = this.view.groups.findIndex((group) => group.start <= at && at < group.end);
    return Math.max(0, found);
  }

  isLong() {
    return this.size > LONG;
  }

  /** Where the scale ends: at the largest number of a short text; of a long one so that as many cells as it has rows are brighter. */
  largest() {
    const all = new Float32Array((this.size * (this.size + 1)) / 2);
    let found = 0;
    for (let i = 0; i < this.size; i++) {
      for (let j = this.hide ? 1 : 0; j <= i; j++) all[found++] = Math.abs(this.view.weights[i * this.size + j]);
    }
    all.sort();
    return Math.max(1e-9, all[all.length - (this.isLong() ? this.size : 1)]);
  }

  /** The other groups with what is between them and `group`, the most first: those it looks at, or those that look at it. */
  around(group, looking, count) {
    const found = [];
    for (let other = 0; other < this.size; other++) {
      const x = looking ? this.value(group, other) : this.value(other, group);
      if (x !== null && x !== 0) found.push([other, x]);
    }
    return found.sort((a, b) => b[1] - a[1]).slice(0, count);
  }
}
