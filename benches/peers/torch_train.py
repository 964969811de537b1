"""Time of a GPT-2 training step in PyTorch: forward, backward, clipping, fused AdamW, f32, on ids that mean nothing.

python torch_train.py --preset gpt2 --batch-size 4 --seq-len 1024 --steps 6 [--threads 2] [--compile] [--json]

The pair of `foretoken bench --only train --json`, and what `foretoken bench --against torch` runs in turn with it; and of
`cargo run --release -p foretoken --example train_speed`, with the same flags, ids and hyperparameters. With
--match DIR both start from the weights of a GPT-2 in Hugging Face's layout, and the losses are comparable step by step.
"""
import argparse
import json
import statistics
import time

import torch

import gpt

ADAMW = {"lr": 3e-4, "betas": (0.9, 0.95)}


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="gpt2", choices=gpt.PRESETS)
    parser.add_argument("--match", metavar="DIR", help="weights and sizes of a GPT-2 in Hugging Face's layout")
    parser.add_argument("--vocab-size", type=int, help="of a preset; GPT-2's unless given")
    parser.add_argument("--batch-size", type=int, default=4)
    parser.add_argument("--seq-len", type=int, default=1024)
    parser.add_argument("--steps", type=int, default=6, help="the first is not counted")
    parser.add_argument("--threads", type=int, help="PyTorch's own choice unless given")
    parser.add_argument("--compile", action="store_true", help="torch.compile the model")
    parser.add_argument("--json", action="store_true", help="one object a line, the summary last")
    args = parser.parse_args()
    if args.steps < 2:
        parser.error("--steps: at least 2, the first is not counted")
    return args


def window(step, b, t, vocabulary):
    """The ids and targets of a step: a hash of their place in an endless stream, so that both sides make the same."""
    place = torch.arange(b * (t + 1)) + step * b * (t + 1)
    mixed = (place * 2654435761) & 0xFFFFFFFF
    mixed = mixed ^ (mixed >> 15)
    mixed = (mixed * 73244475) & 0xFFFFFFFF
    ids = ((mixed ^ (mixed >> 16)) % vocabulary).view(b, t + 1)
    return ids[:, :-1].contiguous(), ids[:, 1:].contiguous()


def main():
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(1337)
    model = gpt.from_huggingface(args.match) if args.match else gpt.preset(args.preset, args.vocab_size)
    if args.seq_len > model.positions:
        raise SystemExit(f"--seq-len {args.seq_len}: the model has n_positions = {model.positions}")
    loss_of = torch.compile(model) if args.compile else model
    optimizer = gpt.adamw(model, **ADAMW)
    tokens, times = args.batch_size * args.seq_len, []
    for step in range(args.steps):
        ids, targets = window(step, args.batch_size, args.seq_len, model.vocabulary)
        begun = time.perf_counter()
        loss = gpt.step(model, loss_of, optimizer, ids, targets)
        times.append(time.perf_counter() - begun)
        if args.json:
            print(json.dumps({"step": step + 1, "seconds": times[-1], "loss": loss}), flush=True)
        else:
            print(f"step {step + 1}: {times[-1]:.3f} s, {tokens / times[-1]:.1f} tokens/s, loss {loss:.6f}", flush=True)
    summary = {
        "model": args.match or args.preset,
        "tokens_per_s": tokens / statistics.median(times[1:]),
        "step_seconds": statistics.median(times[1:]),
        "peak_memory": gpt.peak_memory(),
        "loss": loss,
        "threads": torch.get_num_threads(),
        "compile": args.compile,
        "torch": torch.__version__,
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(
            f"median {summary['tokens_per_s']:.1f} tokens/s over {len(times) - 1} steps, "
            f"peak memory {summary['peak_memory'] / 1e9:.2f} GB, {summary['threads']} threads"
        )


main()
