"""Prefill and decode of transformers with a GPT-2: f32, key/value cache, greedy, through `generate`.

python hf_generate.py DIR [--prompt-tokens 512] [--tokens 64] [--rounds 5] [--threads 2] [--json]
python hf_generate.py --preset gpt2 …       random weights of GPT-2's size

The prompt's ids are 7919 i mod V, and the end token does not end the text, so that every side does the same work.
"""
import argparse
import json
import resource
import statistics
import time

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel
from transformers.generation.streamers import BaseStreamer

PRESETS = {"gpt2": {}, "gpt2-medium": dict(n_layer=24, n_head=16, n_embd=1024)}


class Clock(BaseStreamer):
    """Notes when ids come: first the prompt's, before anything is computed, then one by one."""

    def __init__(self):
        self.times = []

    def put(self, value):
        self.times.append(time.perf_counter())

    def end(self):
        pass


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dir", nargs="?", metavar="DIR")
    parser.add_argument("--preset", choices=PRESETS)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--tokens", type=int, default=64, help="decoded after the one that the prompt gives")
    parser.add_argument("--rounds", type=int, default=5, help="after one that is not counted")
    parser.add_argument("--threads", type=int, help="PyTorch's own choice unless given")
    parser.add_argument("--json", action="store_true", help="one object a line, the summary last")
    args = parser.parse_args()
    if (args.dir is None) == (args.preset is None):
        parser.error("give either DIR or --preset")
    return args


def main():
    args = parse()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(1)
    if args.preset:
        model = GPT2LMHeadModel(GPT2Config(**PRESETS[args.preset]))
    else:
        model = AutoModelForCausalLM.from_pretrained(args.dir, dtype=torch.float32)
    model.eval()
    if args.prompt_tokens + args.tokens > model.config.n_positions:
        raise SystemExit(f"the model has n_positions = {model.config.n_positions}")
    ids = torch.arange(args.prompt_tokens)[None] * 7919 % model.config.vocab_size
    prefill, decode = [], []
    for round in range(args.rounds + 1):
        clock = Clock()
        out = model.generate(
            ids, attention_mask=torch.ones_like(ids), max_new_tokens=args.tokens + 1, do_sample=False, eos_token_id=None,
            pad_token_id=0, use_cache=True, streamer=clock,
        )
        assert len(clock.times) == args.tokens + 2, f"{len(clock.times)} reports, expected the prompt and every token"
        if round == 0:
            continue
        prefill.append(args.prompt_tokens / (clock.times[1] - clock.times[0]))
        decode.append(args.tokens / (clock.times[-1] - clock.times[1]))
        if args.json:
            print(json.dumps({"round": round, "prefill": prefill[-1], "decode": decode[-1]}), flush=True)
        else:
            print(f"prefill {prefill[-1]:.1f} tokens/s, decode {decode[-1]:.1f} tokens/s", flush=True)
    summary = {
        "model": args.dir or args.preset,
        "prefill_tokens_per_s": statistics.median(prefill),
        "decode_tokens_per_s": statistics.median(decode),
        "ids": out[0, args.prompt_tokens :].tolist(),
        "peak_memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "threads": torch.get_num_threads(),
    }
    if args.json:
        print(json.dumps(summary))
    else:
        print(f"median: prefill {summary['prefill_tokens_per_s']:.1f}, decode {summary['decode_tokens_per_s']:.1f} tokens/s")


main()
