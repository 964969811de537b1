"""GPT-2 in PyTorch as a practitioner writes it for a CPU, shared by torch_train.py and torch_char.py.

Letters as in the project: B batch, T sequence length, V vocabulary, L layers, d width, h heads.
"""
import json
import pathlib
import resource

import torch
import torch.nn.functional as F
from torch import nn

# L, h, d, n_positions; the vocabulary is GPT-2's. As `foretoken size` lists them.
PRESETS = {
    "nano": (4, 4, 128, 64),
    "tiny": (4, 4, 128, 256),
    "mini": (6, 6, 192, 256),
    "small": (6, 6, 384, 256),
    "gpt2": (12, 12, 768, 1024),
    "gpt2-medium": (24, 16, 1024, 1024),
    "gpt2-large": (36, 20, 1280, 1024),
    "gpt2-xl": (48, 25, 1600, 1024),
    "gpt3-small": (12, 12, 768, 2048),
    "gpt3-medium": (24, 16, 1024, 2048),
    "gpt3-large": (24, 16, 1536, 2048),
    "gpt3-xl": (24, 16, 2048, 2048),
    "gpt3-2.7b": (32, 32, 2560, 2048),
    "gpt3-6.7b": (32, 32, 4096, 2048),
    "gpt3-13b": (40, 40, 5120, 2048),
    "gpt3-175b": (96, 96, 12288, 2048),
}
GPT2_VOCABULARY = 50257


class Block(nn.Module):
    def __init__(self, d, h, inner, eps):
        super().__init__()
        self.h = h
        self.ln_1, self.ln_2 = nn.LayerNorm(d, eps), nn.LayerNorm(d, eps)
        self.qkv, self.out = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.up, self.down = nn.Linear(d, inner), nn.Linear(inner, d)

    def forward(self, x):
        b, t, d = x.shape
        q, k, v = (
            part.view(b, t, self.h, d // self.h).transpose(1, 2) for part in self.qkv(self.ln_1(x)).split(d, dim=2)
        )
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(mixed.transpose(1, 2).reshape(b, t, d))
        return x + self.down(F.gelu(self.up(self.ln_2(x)), approximate="tanh"))


class GPT(nn.Module):
    def __init__(self, layers, heads, d, positions, vocabulary, inner=None, eps=1e-5):
        super().__init__()
        self.positions, self.vocabulary = positions, vocabulary
        self.wte, self.wpe = nn.Embedding(vocabulary, d), nn.Embedding(positions, d)
        self.blocks = nn.ModuleList(Block(d, heads, inner or 4 * d, eps) for _ in range(layers))
        self.ln_f = nn.LayerNorm(d, eps)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear):
                nn.init.zeros_(module.bias)
        # What is added to the residual stream 2L times is scaled so that its variance does not grow.
        for block in self.blocks:
            nn.init.normal_(block.out.weight, std=0.02 / (2 * layers) ** 0.5)
            nn.init.normal_(block.down.weight, std=0.02 / (2 * layers) ** 0.5)

    def forward(self, ids, targets):
        """Mean cross-entropy in nats; ids and targets are (B,T)."""
        x = self.wte(ids) + self.wpe(torch.arange(ids.shape[1]))
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.ln_f(x), self.wte.weight)
        return F.cross_entropy(logits.view(-1, logits.shape[-1]), targets.reshape(-1))


def preset(name, vocabulary=None):
    return GPT(*PRESETS[name], vocabulary or GPT2_VOCABULARY)


def from_huggingface(directory):
    """The model of config.json and model.safetensors."""
    from safetensors.torch import load_file

    directory = pathlib.Path(directory)
    if not (directory / "config.json").exists():
        directory = directory / "latest"
    config = json.loads((directory / "config.json").read_text())
    if config["model_type"] != "gpt2":
        raise SystemExit(f"{directory}: model_type {config['model_type']}, expected gpt2")
    sizes = [config[key] for key in ("n_layer", "n_head", "n_embd", "n_positions", "vocab_size")]
    model = GPT(*sizes, config.get("n_inner"), config["layer_norm_epsilon"])
    theirs = load_file(directory / "model.safetensors")
    theirs = {name.removeprefix("transformer."): tensor.float() for name, tensor in theirs.items()}
    parts = {"attn.c_attn": "qkv", "attn.c_proj": "out", "mlp.c_fc": "up", "mlp.c_proj": "down", "ln_1": "ln_1", "ln_2": "ln_2"}
    names = {f"{name}.weight": f"{name}.weight" for name in ("wte", "wpe", "ln_f")} | {"ln_f.bias": "ln_f.bias"}
    for layer in range(config["n_layer"]):
        for their_part, part in parts.items():
            for kind in ("weight", "bias"):
                names[f"blocks.{layer}.{part}.{kind}"] = f"h.{layer}.{their_part}.{kind}"
    # The file holds (in, out) where Linear holds (out, in).
    matrices = ("qkv.weight", "out.weight", "up.weight", "down.weight")
    state = {name: theirs[their].T if name.endswith(matrices) else theirs[their] for name, their in names.items()}
    model.load_state_dict({name: tensor.contiguous() for name, tensor in state.items()})
    return model


def adamw(model, lr, betas, weight_decay=0.1):
    """Fused AdamW; matrices decay, vectors do not."""
    matrices = [p for p in model.parameters() if p.dim() > 1]
    vectors = [p for p in model.parameters() if p.dim() == 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=lr, betas=betas, eps=1e-8, fused=True)


def step(model, loss_of, optimizer, ids, targets, clip=1.0):
    """One training step; `loss_of` is the model or what torch.compile made of it. Returns the loss before the update."""
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(ids, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
    optimizer.step()
    return loss.item()


def peak_memory():
    """Peak resident memory of this process in bytes (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
