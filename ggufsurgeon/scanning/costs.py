"""What is known of a layer path before it runs: whether it can, and what it costs. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.sizing.footprint import OUTPUT, TIED, cache_n_bytes, footprint
from ggufsurgeon.store.scan_scores import ScannedPath

N_CTX = 4096
"""Tokens of the KV cache that costs are given for."""


class PathCosts:
    """The costs and the refusals of layer paths over one model."""

    def __init__(self, file: GgufFile) -> None:
        blocks = find_blocks(file)
        self._rules = ModelRules(file, blocks)
        self._n_blocks = blocks.n_trunk
        self._footprint = footprint(file.header, file.layout, len(blocks), blocks.n_mtp)

    @property
    def n_bytes_read(self) -> int:
        """Weights of the unmodified model that each token is multiplied by: of all blocks, and of
        the output. All experts of a mixture count, of which a token takes some."""
        of_output = sum(self._footprint.n_bytes(part) for part in (OUTPUT, TIED))
        return self._weights(range(self._n_blocks)) + of_output

    def of(self, path: LayerPath) -> ScannedPath:
        """What is known of a path."""
        more, fewer = list(path.blocks), list(range(self._n_blocks))
        return ScannedPath(
            layer_path=str(path),
            refusal=_refusal(lambda: self._rules.check_routing(path)),
            not_writable=_refusal(
                lambda: self._rules.check_strengths(path), lambda: self._rules.apply(more)
            ),
            n_blocks=len(more) - len(fewer),
            n_bytes_weights=self._weights(more) - self._weights(fewer),
            n_bytes_kv=self._kv(more, fewer),
        )

    def _weights(self, blocks: Sequence[int]) -> int:
        return sum(map(self._footprint.n_bytes, blocks))

    def _kv(self, more: Sequence[int], fewer: Sequence[int]) -> int | None:
        caches = self._footprint.caches
        if caches is None:
            return None
        sizes = [cache_n_bytes(cache, N_CTX, "f16") for cache in caches]
        known = [size for size in sizes if size is not None]
        if len(known) < len(sizes):
            return None
        return sum(known[block] for block in more) - sum(known[block] for block in fewer)


def _refusal(*checks: Callable[[], object]) -> str:
    try:
        for check in checks:
            check()
    except RefusedError as error:
        return str(error)
    return ""
