"""Clients that stream texts from an OpenAI-like server at the same time: tokens a second of all, and their waits for a first token.

python serve_clients.py http://127.0.0.1:8080 MODEL [CLIENTS] [TEXTS_EACH] [SEED]

Prompts are of 16 to 512 words, which GPT-2's tokeniser makes as many tokens of, and 64 tokens are asked for. A server that has
seen a prompt may remember it: another SEED asks with others. llama_cpp.server ends a text where another request comes, unless
it is started with `--interrupt_requests False`.
"""

import json
import random
import sys
import threading
import time
import urllib.request

WORDS = "the a cat sat on house river blue ran sun old door tree bird hand went small light".split()
LENGTHS = [16, 32, 64, 128, 256, 512]
END = "50256"  # GPT-2's end token, which must not come: all texts are of one length


def ask(base, model, rng):
    """One text: seconds to its first token, and how many came."""
    prompt = " ".join(rng.choice(WORDS) for _ in range(rng.choice(LENGTHS)))
    body = dict(model=model, prompt=prompt, max_tokens=64, seed=rng.randrange(1 << 30), stream=True, logit_bias={END: -100})
    request = urllib.request.Request(
        base + "/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    begun, first, tokens = time.monotonic(), None, 0
    with urllib.request.urlopen(request, timeout=600) as response:
        for line in response:
            if line.startswith(b"data: {") and json.loads(line[6:])["choices"][0]["text"]:
                first = first or time.monotonic() - begun
                tokens += 1
    return first, tokens


def main(base, model, clients=16, each=1, seed=0):
    texts = []

    def client(number):
        rng = random.Random(seed * 1000 + number)
        for _ in range(each):
            texts.append(ask(base, model, rng))

    threads = [threading.Thread(target=client, args=(number,)) for number in range(clients)]
    begun = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.monotonic() - begun
    assert len(texts) == clients * each, f"{len(texts)} texts of {clients * each} came"
    waits = sorted(first for first, _ in texts)
    print(json.dumps({
        "clients": clients,
        "texts": len(texts),
        "tokens_per_s": sum(tokens for _, tokens in texts) / took,
        "first_token_s": {"p50": waits[len(waits) // 2], "p99": waits[int(0.99 * len(waits))]},
        "time_s": took,
    }))


main(*sys.argv[1:3], *map(int, sys.argv[3:]))
