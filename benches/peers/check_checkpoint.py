"""Opens a foretoken checkpoint with transformers and holds what it says against what foretoken said.

cargo run --release -p foretoken --example logits -- DIR TEXT_FILE > ours.jsonl
python check_checkpoint.py DIR [TEXT_FILE] [--ours ours.jsonl] [--tolerance 1e-4]

DIR is a run, a checkpoint or a directory in Hugging Face's layout. For every line of TEXT_FILE (or of ours.jsonl) that is
not empty, prints a JSON object: ids, whether they decode to the line again, statistics of the logits. With --ours, also
the differences. The form of ours.jsonl is described in crates/foretoken/examples/logits.rs.

Exits 1 where a tensor is missing or left over, ids or decoded texts differ, a logit differs by more than the tolerance,
or greedy tokens differ although the two likeliest are further apart than that.
"""
import argparse
import json
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", type=pathlib.Path, metavar="DIR")
    parser.add_argument("text", type=pathlib.Path, nargs="?", metavar="TEXT_FILE")
    parser.add_argument("--ours", type=pathlib.Path, metavar="JSONL")
    parser.add_argument("--tolerance", type=float, default=1e-4, help="largest absolute difference of a logit")
    args = parser.parse_args()
    if args.text is None and args.ours is None:
        parser.error("give a TEXT_FILE, or --ours")
    return args


def lines_of(path):
    """Lines end at \\n alone: str.splitlines would also end them at U+2028, and text mode would turn \\r\\n into \\n."""
    lines = path.read_bytes().decode("utf-8").split("\n")
    return [line for line in lines if line]


def statistics(logits):
    return {
        "shape": list(logits.shape),
        "mean": logits.mean().item(),
        "std": logits.std().item(),
        "min": logits.min().item(),
        "max": logits.max().item(),
        "argmax": logits.argmax(-1).tolist(),
    }


def compare(row, ours, logits, greedy, scores, tolerance):
    """Adds the differences to `row`; returns what is wrong."""
    wrong = [f"{key} differ: {row[key]} and ours {ours[key]}" for key in ("ids", "special_ids") if row[key] != ours[key]]
    if ours["decoded"] != row["text"]:
        wrong.append(f"ours decodes to {ours['decoded']!r}")
    theirs, mine = logits, torch.tensor(ours["logits"])
    if theirs.shape != mine.shape:
        return wrong + [f"logits are {tuple(theirs.shape)} and ours {tuple(mine.shape)}"]
    row["max_logit_difference"] = (theirs - mine).abs().max().item()
    # Written so that a NaN is wrong too.
    if not row["max_logit_difference"] <= tolerance:
        wrong.append(f"logits differ by {row['max_logit_difference']:.2e}")
    row["greedy_equal"] = greedy == ours["greedy"]
    if not row["greedy_equal"]:
        pairs = zip(greedy, ours["greedy"])
        at = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(greedy), len(ours["greedy"])))
        best = scores[at][0].topk(2).values
        if best[0] - best[1] > 2 * tolerance:
            wrong.append(f"greedy tokens differ at {at}: {greedy} and ours {ours['greedy']}")
    return wrong


@torch.no_grad()
def check(text, model, tokenizer, ours, tolerance):
    ids = tokenizer(text, split_special_tokens=True)["input_ids"]
    row = {"text": text, "ids": ids, "special_ids": tokenizer(text)["input_ids"]}
    wrong = []
    if (decoded := tokenizer.decode(ids)) != text:
        wrong.append(f"transformers decodes to {decoded!r}")
    limit = model.config.max_position_embeddings
    logits = model(torch.tensor([ids[:limit]])).logits[0]
    row["logits"] = statistics(logits)
    greedy, scores = [], []
    if (room := min(16, limit - len(ids))) > 0:
        out = model.generate(
            torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long), max_new_tokens=room,
            do_sample=False, return_dict_in_generate=True, output_logits=True,
        )
        greedy, scores = out.sequences[0, len(ids):].tolist(), out.logits
        if greedy[-1:] == [tokenizer.eos_token_id]:
            greedy.pop()
    if ours is not None:
        wrong += compare(row, ours, logits, greedy, scores, tolerance)
    row["wrong"] = wrong
    return row


def main():
    args = parse()
    path = args.dir if (args.dir / "config.json").exists() else args.dir / "latest"
    model, loading = AutoModelForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    model.eval()
    tokenizer = AutoTokenizer.from_pretrained(path)
    loading = {key: sorted(map(str, value)) for key, value in loading.items() if value}
    ends = {
        "tokenizer": tokenizer.eos_token_id, "config": model.config.eos_token_id,
        "generation": model.generation_config.eos_token_id,
    }
    print(json.dumps({"model": type(model).__name__, "tokenizer": type(tokenizer).__name__, "loading": loading, "eos": ends}))
    ours = [json.loads(line) for line in lines_of(args.ours)] if args.ours else None
    texts = lines_of(args.text) if args.text else [row["text"] for row in ours]
    if ours is not None and texts != [row["text"] for row in ours]:
        sys.exit(f"{args.ours} was made from another text than {args.text}")
    wrong, largest = int(bool(loading) or len(set(ends.values())) > 1), 0.0
    for index, text in enumerate(texts):
        row = check(text, model, tokenizer, ours[index] if ours else None, args.tolerance)
        wrong += bool(row["wrong"])
        largest = max(largest, row.get("max_logit_difference", 0.0))
        print(json.dumps(row, ensure_ascii=False))
    print(json.dumps({"lines": len(texts), "wrong": wrong, "max_logit_difference": largest}))
    sys.exit(wrong > 0)


main()
