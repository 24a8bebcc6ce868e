"""Model files, read by their headers: inspection, plans of patched files, and writing them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import MalformedFileError, RefusedError, UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import Change, PatchPlan, plan_patch
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.file_kinds import FileKind, other_kind
from ggufsurgeon.rules.windows import Judgement, judge_windows

if TYPE_CHECKING:
    from ggufsurgeon.sizing.prediction import Prediction

PathLike: TypeAlias = "str | os.PathLike[str]"


class ModelFile:
    """A GGUF file, known by its header alone. Made by `ggufsurgeon.open`.

    >>> import ggufsurgeon as gs
    >>> model = gs.open("fixtures/stories260K.gguf")
    >>> model.architecture, model.n_blocks
    ('llama', 5)
    """

    def __init__(self, path: PathLike) -> None:
        self.file: GgufFile = open_gguf(path)
        self.path: Path = self.file.path

    @property
    def architecture(self) -> str | None:
        """The value of `general.architecture`; None where it is absent."""
        return self.file.header.architecture

    @property
    def n_bytes(self) -> int:
        """The size of the file in bytes."""
        return self.file.layout.n_bytes

    @property
    def n_blocks(self) -> int:
        """The number of blocks that a layer path is over: all but MTP blocks.

        Raises RefusedError for a file that is not one whole model, MalformedFileError when blocks
        are missing.
        """
        return find_blocks(self.file).n_trunk

    @property
    def metadata(self) -> Mapping[str, object]:
        """The values of all key-value pairs, by key."""
        return {pair.key: pair.value for pair in self.file.header.pairs}

    def inspect(self) -> Inspection:
        """The blocks, their kinds, and which windows can be repeated."""
        return _inspect(self.file)

    def plan(self, path: AnyPath, *, scale_weights: bool = False) -> Plan:
        """Plan the file in which the blocks of `path` run. Nothing is written.

        `scale_weights` allows files that are equal within rounding alone. Raises RefusedError
        when no exact file exists, UsageError when the path does not fit the model.
        """
        return Plan(plan_patch(self.file, path, scale_weights=scale_weights))


class Plan:
    """A file that can be written. Made by `ModelFile.plan`.

    >>> import ggufsurgeon as gs
    >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
    >>> str(plan.layer_path), plan.n_bytes
    ('0..2,1..4', 1550336)
    """

    def __init__(self, planned: PatchPlan) -> None:
        self.planned = planned

    @property
    def layer_path(self) -> LayerPath:
        """The blocks of the new file, with MTP blocks behind them."""
        return self.planned.path

    @property
    def changes(self) -> tuple[Change, ...]:
        """The key-value pairs that change, with their values before and after."""
        return self.planned.changes

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the new file and its source that a user should know."""
        return self.planned.notes + self.planned.source_notes

    @property
    def n_bytes(self) -> int:
        """The size of the new file in bytes."""
        return self.planned.write_plan.n_bytes

    def memory(
        self,
        *,
        n_ctx: int = 4096,
        tensor_split: Sequence[float] = (),
        n_gpu_layers: int = -1,
        device_memory: Sequence[int] = (),
        n_cpu_moe: int = 0,
        override_tensors: Sequence[tuple[str, str]] = (),
    ) -> Prediction:
        """The memory that source and new file take on each device, in bytes, from headers alone.

        `n_ctx` is in tokens. `tensor_split` is a share of the layers for each GPU, one GPU if
        empty; `n_gpu_layers` layers go to GPUs, the output counted as one, all with -1.
        `device_memory` is the size of each GPU in bytes: `fits` then tells whether the model fits,
        and without a `tensor_split` the shares are in proportion to it. Raises UsageError when the
        two are of different lengths. `n_cpu_moe` and `override_tensors` are those of `Devices`;
        blocks count as in the file that is loaded: the source, or the new file.

        >>> import ggufsurgeon as gs
        >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
        >>> cpu, gpu = plan.memory(n_ctx=512, device_memory=[8 << 30]).after
        >>> gpu.n_bytes_kv["f16"], gpu.fits
        (458752, True)
        """
        from ggufsurgeon.rules.tensor_overrides import tensor_overrides
        from ggufsurgeon.sizing.prediction import DeviceSettings, predict_patch

        shares = tuple(tensor_split) or tuple(map(float, device_memory)) or (1.0,)
        if device_memory and len(device_memory) != len(shares):
            raise UsageError(
                f"the tensor split is for {len(shares)} GPUs, and {len(device_memory)} sizes of "
                "their memory are given"
            )
        moved = tensor_overrides(override_tensors, n_cpu_moe)
        settings = DeviceSettings(shares, n_gpu_layers, n_ctx, tuple(device_memory), moved)
        return predict_patch(self.planned, settings)

    def write(
        self, destination: PathLike, *, replace: bool = False, progress: Progress = NO_PROGRESS
    ) -> Path:
        """Write the file; the destination is absent, as it was or complete, whatever happens.

        Raises RefusedError when it exists (unless `replace`), WriteFailedError when the system
        cannot write. Warns (PermissionsWarning) when the file that it replaces has permissions
        that cannot be set.
        """
        from ggufsurgeon.writing.new_file import write_new_file

        path = Path(destination)
        write_new_file(self.planned.write_plan, path, replace=replace, progress=progress)
        return path


def open_model(path: PathLike) -> ModelFile:
    """Open a GGUF file and read its header.

    Raises UsageError when it cannot be read, MalformedFileError when its content breaks the format.

    >>> import ggufsurgeon as gs
    >>> gs.open("fixtures/stories260K.gguf").n_bytes
    1185376
    """
    return ModelFile(path)


@dataclass(frozen=True)
class Inspection:
    """A file with its blocks, their kinds and the judgement of every window.

    `refusal` is the reason for which no path can be written, where there is one, and `instead` what
    to do then. `other_kind` is what a file is that is not one whole language model.
    """

    file: GgufFile
    blocks: Blocks | None = None
    kinds: tuple[str, ...] = ()
    windows: tuple[Judgement, ...] = ()
    refusal: str | None = None
    instead: str = ""
    other_kind: FileKind | None = None


def _inspect(file: GgufFile) -> Inspection:
    try:
        blocks = find_blocks(file)
    except (RefusedError, MalformedFileError) as error:
        kind = other_kind(file.header)
        return Inspection(file, refusal=str(error), instead=error.hint, other_kind=kind)
    try:
        kinds = tuple(ModelRules(file, blocks).labels())
        windows = tuple(judge_windows(file, blocks))
    except RefusedError as error:
        return Inspection(file, blocks, refusal=str(error), instead=error.hint)
    refused = all(window.refusal for window in windows)
    return Inspection(file, blocks, kinds, windows, windows[0].refusal if refused else None)
