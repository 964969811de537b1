"""nanoGPT's CPU recipe in PyTorch: a small GPT learns the characters of a text.

python torch_char.py --data input.txt [--steps 2000] [--threads 2] [--compile] [--json]

First 90% of the characters to train, the rest to validate; L=4 d=128 h=4 T=64 B=12, AdamW with betas 0.9 and 0.99, weight
decay 0.1, clip 1, no dropout, 1e-3 after 100 steps of warm-up and down a cosine to 1e-4; before the first step, every 250
and after the last, the mean loss of 20 random batches each of train and val. Prints the losses, the seconds in all and
those of the steps alone. The pair of `foretoken train`, see README.md.
"""
import argparse
import json
import math
import pathlib
import time

import torch

import gpt

LAYERS, HEADS, D, T, B = 4, 4, 128, 64, 12
LR, MIN_LR, WARMUP, BETAS = 1e-3, 1e-4, 100, (0.9, 0.99)
EVAL_EVERY, EVAL_BATCHES = 250, 20


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=pathlib.Path, required=True, metavar="PATH")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--threads", type=int, help="PyTorch's own choice unless given")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--seed", type=int, default=1337)
    parser.add_argument("--json", action="store_true", help="one object an evaluation, the summary last")
    return parser.parse_args()


def batch(ids):
    starts = torch.randint(len(ids) - T, (B,)).tolist()
    rows = torch.stack([ids[start : start + T + 1] for start in starts])
    return rows[:, :-1], rows[:, 1:]


def learning_rate(step, steps):
    if step < WARMUP:
        return LR * (step + 1) / (WARMUP + 1)
    done = min((step - WARMUP) / max(steps - WARMUP, 1), 1.0)
    return MIN_LR + (LR - MIN_LR) * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def evaluate(loss_of, ids):
    return sum(loss_of(*batch(ids)).item() for _ in range(EVAL_BATCHES)) / EVAL_BATCHES


def main():
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    text = args.data.read_text(encoding="utf-8")
    characters = {c: i for i, c in enumerate(sorted(set(text)))}
    ids = torch.tensor([characters[c] for c in text])
    train, val = ids[: int(len(ids) * 0.9)], ids[int(len(ids) * 0.9) :]
    if len(val) <= T:
        raise SystemExit(f"{args.data}: {len(val)} characters to validate on, expected more than T = {T}")
    model = gpt.GPT(LAYERS, HEADS, D, T, len(characters))
    loss_of = torch.compile(model) if args.compile else model
    optimizer = gpt.adamw(model, LR, BETAS)
    begun, steps_s, best = time.perf_counter(), 0.0, math.inf
    for step in range(args.steps + 1):
        if step % EVAL_EVERY == 0 or step == args.steps:
            losses = {"step": step, "train_loss": evaluate(loss_of, train), "val_loss": evaluate(loss_of, val)}
            best = min(best, losses["val_loss"])
            if args.json:
                print(json.dumps(losses), flush=True)
            else:
                print(f"step {step}: train {losses['train_loss']:.4f}, val {losses['val_loss']:.4f}", flush=True)
        if step == args.steps:
            break
        started = time.perf_counter()
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, args.steps)
        gpt.step(model, loss_of, optimizer, *batch(train))
        steps_s += time.perf_counter() - started
    summary = {
        "val_loss": losses["val_loss"],
        "best_val_loss": best,
        "time_s": time.perf_counter() - begun,
        "steps_s": steps_s,
        "tokens_per_s": args.steps * B * T / steps_s if steps_s else None,
        "vocab_size": len(characters),
        "peak_memory": gpt.peak_memory(),
        "threads": torch.get_num_threads(),
        "compile": args.compile,
        "torch": torch.__version__,
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(
            f"val {summary['val_loss']:.4f} (best {best:.4f}), {summary['time_s']:.1f} s in all, {steps_s:.1f} s the "
            f"steps alone, {summary['threads']} threads"
        )


main()
