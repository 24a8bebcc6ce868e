"""The devices that a model is asked to run on."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ggufsurgeon.rules.tensor_overrides import TensorOverride, tensor_overrides

NO_ROUNDING = frozenset({"rpc_timeout_s", "allow_cpu"})
"""Fields that change no score."""
CAME_LATER = frozenset({"names", "override_tensors", "n_cpu_moe"})
"""Fields that the first stores do not have."""


@dataclass(frozen=True)
class Devices:
    """Devices that a model runs on. None and empty mean llama.cpp's own defaults.

    >>> import ggufsurgeon as gs
    >>> with gs.load("fixtures/stories260K.gguf", gs.Devices(n_threads=1)) as model:
    ...     model.generate("Once upon a time", max_tokens=5).text
    ', there was a little'
    """

    n_gpu_layers: int | None = None
    """Layers on GPUs, the output counted as one; None or -1 for all."""
    tensor_split: tuple[float, ...] = ()
    """Shares of the layers for each GPU; empty for shares by free memory."""
    n_threads: int | None = None
    """CPU threads; None for one on each physical core, and no more than the CPU quota."""
    rpc: tuple[str, ...] = ()
    """RPC servers whose devices join, each HOST:PORT."""
    rpc_timeout_s: float = 600.0
    """Seconds that a job in a worker may go without a result from RPC servers: it then fails,
    since a frozen server cannot be told from a slow one. It must exceed the time of a batch."""
    names: tuple[str, ...] | None = None
    """GPUs to use, in the order of their shares, by llama.cpp's names, such as CUDA0; empty for the
    CPU alone."""
    override_tensors: tuple[tuple[str, str], ...] = ()
    """Regular expressions, and the buffer that tensors go to in whose names they are found, such as
    CPU; the first that is found decides."""
    n_cpu_moe: int = 0
    """Blocks, from the first, whose experts stay on the CPU, unless `override_tensors` says
    otherwise; -1 for all. They are those of the file that is loaded, wherever a path runs them."""
    allow_cpu: bool = False
    """Whether a model runs on what is there, when GPUs that were asked for are missing."""

    def as_settings(self) -> dict[str, Any]:
        """What decides how scores are rounded, by the names of the fields, as a store keeps it.

        Fields that came later are left out at their defaults, so that earlier stores go on.
        """
        default = asdict(Devices())
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in NO_ROUNDING and not (name in CAME_LATER and value == default[name])
        }

    @property
    def overrides(self) -> tuple[TensorOverride, ...]:
        """The tensor overrides, in the order in which they are tried."""
        return tensor_overrides(self.override_tensors, self.n_cpu_moe)
