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
        """The size of the file in bytes, or of all shards together."""
        return self.file.n_bytes

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
        """Facts about the new file that a user should know."""
        return self.planned.notes

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
    ) -> Prediction:
        """The memory that source and new file take on each device, in bytes, from headers alone.

        `n_ctx` is in tokens. `tensor_split` is a share of the layers for each GPU, one GPU if
        empty; `n_gpu_layers` layers go to GPUs, the output counted as one, all with -1.
        `device_memory` is the size of each GPU in bytes: `fits` then tells whether the model fits,
        and without a `tensor_split` the shares are in proportion to it. Raises UsageError when the
        two are of different lengths.

        >>> import ggufsurgeon as gs
        >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
        >>> cpu, gpu = plan.memory(n_ctx=512, device_memory=[8 << 30]).after
        >>> gpu.n_bytes_kv["f16"], gpu.fits
        (458752, True)
        """
        from ggufsurgeon.sizing.prediction import DeviceSettings, predict_patch

        shares = tuple(tensor_split) or tuple(map(float, device_memory)) or (1.0,)
        if device_memory and len(device_memory) != len(shares):
            raise UsageError(
                f"the tensor split is for {len(shares)} GPUs, and {len(device_memory)} sizes of "
                "their memory are given"
            )
        settings = DeviceSettings(shares, n_gpu_layers, n_ctx, tuple(device_memory))
        return predict_patch(self.planned, settings)

    def write(
        self, destination: PathLike, *, replace: bool = False, progress: Progress = NO_PROGRESS
    ) -> Path:
        """Write the file; the destination is absent, as it was or complete, whatever happens.

        Raises RefusedError when it exists (unless `replace`), WriteFailedError when the system
        cannot write.
        """
        from ggufsurgeon.writing.new_file import write_new_file

        path = Path(destination)
        write_new_file(self.planned.write_plan, path, replace=replace, progress=progress)
        return path

    def n_bytes_of_shards(self, max_n_bytes: int) -> tuple[int, ...]:
        """The sizes in bytes of the files that `write_shards` writes. Raises as it does."""
        from ggufsurgeon.planning.sharding import in_shards

        return tuple(plan.n_bytes for plan in in_shards(self.planned.write_plan, max_n_bytes))

    def write_shards(
        self, destination: PathLike, max_n_bytes: int, *, progress: Progress = NO_PROGRESS
    ) -> tuple[Path, ...]:
        """Write the file in shards of up to `max_n_bytes`, and return their paths, the first first.

        For the destination `new.gguf` they are called `new-00001-of-00002.gguf` and so on, as
        llama.cpp and llama-gguf-split call them; where one file is enough it is `new.gguf`. The
        first appears last: without it the others are no model. Raises RefusedError when a shard
        exists, or a tensor is too large, and WriteFailedError when the system cannot write.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     shards = plan.write_shards(f"{folder}/new.gguf", 1_000_000)
        ...     gs.open(shards[1]).n_blocks
        7
        >>> [path.name for path in shards]
        ['new-00001-of-00002.gguf', 'new-00002-of-00002.gguf']
        """
        from ggufsurgeon.container.shards import paths_at
        from ggufsurgeon.planning.sharding import in_shards
        from ggufsurgeon.writing.new_file import write_new_shards

        plans = in_shards(self.planned.write_plan, max_n_bytes)
        if len(plans) == 1:
            return (self.write(destination, progress=progress),)
        paths = paths_at(Path(destination), len(plans))
        write_new_shards(plans, paths, progress=progress)
        return tuple(paths)


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
