"""Prefill and decode of llama.cpp, greedy, through the package llama-cpp-python.

python llama_cpp_generate.py MODEL.gguf [--prompt-tokens 512] [--tokens 64] [--rounds 5] [--threads 2] [--flash-attn] [--json]

The prompt's ids are 7919 i mod V, and the end token does not end the text, so that every side does the same work. (This
file cannot be called llama_cpp.py: it would import itself.)
"""
import argparse
import json
import os
import resource
import statistics
import sys
import time

try:
    from llama_cpp import Llama
except ImportError as error:
    sys.exit(f"{error}: pip install llama-cpp-python builds it, a quarter of an hour on two cores")


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="MODEL.gguf")
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64, help="decoded after the one that the prompt gives")
    parser.add_argument("--rounds", type=int, default=5, help="after one that is not counted")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--flash-attn", action="store_true")
    parser.add_argument("--json", action="store_true", help="one object a line, the summary last")
    return parser.parse_args()


def main():
    args = parse()
    model = Llama(
        args.model, n_ctx=args.prompt_tokens + args.tokens + 1, n_batch=args.prompt_tokens, n_ubatch=args.prompt_tokens,
        n_threads=args.threads, n_threads_batch=args.threads, flash_attn=args.flash_attn, verbose=False,
    )
    ids = [i * 7919 % model.n_vocab() for i in range(args.prompt_tokens)]
    prefill, decode = [], []
    for round in range(args.rounds + 1):
        # Else `generate` finds the prompt in its cache and computes nothing.
        model.reset()
        times, out = [time.perf_counter()], []
        for token in model.generate(ids, temp=0.0):
            times.append(time.perf_counter())
            out.append(token)
            if len(out) == args.tokens + 1:
                break
        if round == 0:
            continue
        prefill.append(args.prompt_tokens / (times[1] - times[0]))
        decode.append(args.tokens / (times[-1] - times[1]))
        if args.json:
            print(json.dumps({"round": round, "prefill": prefill[-1], "decode": decode[-1]}), flush=True)
        else:
            print(f"prefill {prefill[-1]:.1f} tokens/s, decode {decode[-1]:.1f} tokens/s", flush=True)
    summary = {
        "model": args.model,
        "prefill_tokens_per_s": statistics.median(prefill),
        "decode_tokens_per_s": statistics.median(decode),
        "ids": out,
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "threads": args.threads,
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"median: prefill {summary['prefill_tokens_per_s']:.1f}, decode {summary['decode_tokens_per_s']:.1f} tokens/s")


main()
