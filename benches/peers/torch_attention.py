"""PyTorch's scaled_dot_product_attention over one long sequence, forward and backward, B=1 h=12 dh=64: the pair of `attention_speed`.

python torch_attention.py [T 8192 [ROUNDS 5 [THREADS]]]
"""
import json
import statistics
import sys
import time

import torch
import torch.nn.functional as F


def main():
    given = [int(arg) for arg in sys.argv[1:]]
    t, rounds = (given + [8192, 5][len(given):])[:2]
    if len(given) > 2:
        torch.set_num_threads(given[2])
    torch.manual_seed(0)
    q, k, v = (torch.randn(1, 12, t, 64, requires_grad=True) for _ in range(3))
    dout = torch.randn(1, 12, t, 64)
    forward, backward = [], []
    # The first round only warms up.
    for i in range(rounds + 1):
        begun = time.perf_counter()
        out = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        between = time.perf_counter()
        out.backward(dout)
        ended = time.perf_counter()
        q.grad = k.grad = v.grad = None
        if i > 0:
            forward.append(between - begun)
            backward.append(ended - between)
    times = {"forward_s": statistics.median(forward), "backward_s": statistics.median(backward)}
    print(json.dumps(times | {"seconds": sum(times.values())}))


main()
