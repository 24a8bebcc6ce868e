"""A llama of F32 weights in NumPy: the residual stream and the logits, without llama.cpp."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from gguf import GGUFReader

Values = npt.NDArray[np.float64]


class NumpyLlama:
    """Block by block, as "LLaMA" (arXiv 2302.13971) describes it, with grouped queries."""

    def __init__(self, path: Path) -> None:
        reader = GGUFReader(path)
        self.weights = {
            tensor.name.removesuffix(".weight"): np.asarray(tensor.data, dtype=np.float64)
            for tensor in reader.tensors
        }

        def number(key: str) -> float:
            return float(reader.fields[f"llama.{key}"].parts[-1][0])

        self.epsilon = number("attention.layer_norm_rms_epsilon")
        self.n_heads = int(number("attention.head_count"))
        self.n_kv_heads = int(number("attention.head_count_kv"))
        self.n_blocks = int(number("block_count"))

    def states(self, tokens: npt.NDArray[np.int32]) -> list[Values]:
        """The input of block 0 and the output of each block, [n_tokens, n_embd]."""
        x = self.weights["token_embd"][tokens]
        found = [x]
        for block in range(self.n_blocks):
            found.append(self.block(block, found[-1]))
        return found

    def block(self, block: int, x: Values) -> Values:
        def weight(name: str) -> Values:
            return self.weights[f"blk.{block}.{name}"]

        normed = self.norm(x, weight("attn_norm"))
        queries, keys, values = (normed @ weight(f"attn_{name}").T for name in "qkv")
        x = x + self.attention(queries, keys, values) @ weight("attn_output").T
        normed = self.norm(x, weight("ffn_norm"))
        gate, up = (normed @ weight(f"ffn_{name}").T for name in ("gate", "up"))
        return np.asarray(x + (gate / (1 + np.exp(-gate)) * up) @ weight("ffn_down").T)

    def attention(self, queries: Values, keys: Values, values: Values) -> Values:
        n = len(queries)
        q = self.rotated(queries.reshape(n, self.n_heads, -1))
        k = self.rotated(keys.reshape(n, self.n_kv_heads, -1))
        v = values.reshape(n, self.n_kv_heads, -1)
        shared = self.n_heads // self.n_kv_heads
        k, v = np.repeat(k, shared, axis=1), np.repeat(v, shared, axis=1)
        scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(q.shape[-1])
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return np.asarray(np.einsum("hqk,khd->qhd", weights, v).reshape(n, -1))

    def rotated(self, x: Values) -> Values:
        """Rotary positions over neighbouring pairs of dimensions."""
        n, _, d = x.shape
        angles = np.arange(n)[:, None, None] * 10000.0 ** (-np.arange(0, d, 2) / d)
        even, odd = x[..., ::2], x[..., 1::2]
        found = np.empty_like(x)
        found[..., ::2] = even * np.cos(angles) - odd * np.sin(angles)
        found[..., 1::2] = even * np.sin(angles) + odd * np.cos(angles)
        return found

    def norm(self, x: Values, weight: Values) -> Values:
        scale = np.sqrt((x**2).mean(axis=-1, keepdims=True) + self.epsilon)
        return np.asarray(x / scale * weight)

    def logits(self, state: Values) -> Values:
        """What the head makes of a state."""
        return np.asarray(self.norm(state, self.weights["output_norm"]) @ self.weights["output"].T)
