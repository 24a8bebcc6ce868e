"""Which model the parts outside the blocks come from, on a path over several models."""

from __future__ import annotations

from dataclasses import dataclass

from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath


@dataclass(frozen=True)
class OutsideBlocks:
    """The index of the model that each part outside the blocks comes from."""

    embeddings: int = 0
    """Token embeddings, and whatever else runs before the first block."""
    output: int = 0
    """Output norm and output head, and whatever else runs behind the last block."""
    tokenizer: int = 0
    """The vocabulary, the special tokens and the chat template."""

    def check_within(self, n_models: int) -> None:
        """Raise UsageError unless these are indices of so many models."""
        for source in (self.embeddings, self.output, self.tokenizer):
            if not 0 <= source < n_models:
                raise UsageError(
                    f"there is no source {source} for what is outside the blocks; the last one is "
                    f"{n_models - 1}"
                )

    @classmethod
    def beside(cls, path: LayerPath) -> OutsideBlocks:
        """Those of the models whose blocks stand beside them, as mergekit's passthrough has it.

        Embeddings come from the model of the first block, the output head from that of the last
        one, and the tokenizer from model 0 (mergekit a6e4028, mergekit/plan.py).
        """
        return cls(path.steps[0].source, path.steps[-1].source)
