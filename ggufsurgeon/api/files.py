"""Model files, read by their headers: inspection, plans of patched files, and writing them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from dataclasses import replace as changed
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
from ggufsurgeon.write_plan import Written

if TYPE_CHECKING:
    from ggufsurgeon.diffing.model_diff import ModelDiff
    from ggufsurgeon.hashing.whole_file import FileHashes
    from ggufsurgeon.in_place.methods import InPlaceMethod
    from ggufsurgeon.in_place.recovery import Recovery
    from ggufsurgeon.planning.recipes import Recipe
    from ggufsurgeon.planning.restoring import RestorePlan
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

    def hashes(self, progress: Progress = NO_PROGRESS) -> FileHashes:
        """SHA-256 of the whole file and of the data of each tensor; the file is read once.

        Raises UsageError when it cannot be read.

        >>> import ggufsurgeon as gs
        >>> hashes = gs.open("fixtures/stories260K.gguf").hashes()
        >>> hashes.sha256[:8], len(hashes.tensors)
        ('270cba1b', 48)
        """
        from ggufsurgeon.hashing.whole_file import hash_file

        return hash_file(self.file, progress)

    def diff(self, other: ModelFile | PathLike, progress: Progress = NO_PROGRESS) -> ModelDiff:
        """What `other` differs in: keys, tensors, and blocks, found by their content.

        All tensors of both files are read. Raises UsageError when a file cannot be read.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> model = gs.open("fixtures/stories260K.gguf")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     found = model.diff(model.plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf"))
        >>> found.same, str(found.layer_path), found.unexplained
        (False, '0..2,1..4', ())
        """
        from ggufsurgeon.api.diffs import diff_files

        other = other if isinstance(other, ModelFile) else ModelFile(other)
        return diff_files(self.file, other.file, progress)

    def plan(self, path: AnyPath, *, scale_weights: bool = False) -> Plan:
        """Plan the file in which the blocks of `path` run. Nothing is written.

        `scale_weights` allows files that are equal within rounding alone. Raises RefusedError
        when no exact file exists, UsageError when the path does not fit the model.
        """
        return Plan(plan_patch(self.file, path, scale_weights=scale_weights))

    def restore(
        self, destination: PathLike, *, replace: bool = False, progress: Progress = NO_PROGRESS
    ) -> RestorePlan:
        """Write the file that this patched one was made from, byte for byte, from this one alone.

        Several patches are undone at once; `remaining` of the outcome says why where an earlier
        one cannot be. Raises RefusedError where not even the last one can, or when the destination
        exists (unless `replace`), and WriteFailedError when the system cannot write. `written` of
        the outcome tells how many bytes were written, and how many are shared with this file.

        >>> import filecmp, tempfile
        >>> import ggufsurgeon as gs
        >>> source = "fixtures/stories260K.gguf"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
        ...     restored = gs.open(patched).restore(f"{folder}/restored.gguf")
        ...     filecmp.cmp(source, f"{folder}/restored.gguf", shallow=False)
        True
        """
        from ggufsurgeon.planning.restoring import plan_restore
        from ggufsurgeon.writing.new_file import write_new_file

        planned = plan_restore(self.file)
        plan, path = planned.write_plan, Path(destination)
        written = write_new_file(plan, path, replace=replace, progress=progress)
        return changed(planned, written=written)

    @staticmethod
    def recover(path: PathLike) -> Recovery:
        """Undo or finish an edit in place of the file at `path` that was interrupted, if there is
        one; its name cannot be opened until then.

        Raises UsageError when there is no such file, RefusedError, with nothing touched, when the
        journal beside it does not fit it or another process has it open, and WriteFailedError,
        after which it can be tried again.

        >>> import ggufsurgeon as gs
        >>> gs.ModelFile.recover("fixtures/stories260K.gguf").value
        'nothing'
        """
        from ggufsurgeon.api.in_place import recover_file

        return recover_file(path)

    def recipe(self, progress: Progress = NO_PROGRESS) -> Recipe:
        """What rebuilds this patched file, to the byte, from its original.

        Both are hashed: this file, and its original, as `restore` would write it. Raises
        RefusedError when this file records no patch, or when it was changed since.
        """
        from ggufsurgeon.api.recipes import make_recipe

        return make_recipe(self.file, progress)

    def plan_recipe(self, recipe: Recipe | PathLike, progress: Progress = NO_PROGRESS) -> Plan:
        """Plan the file of a recipe, or of a file with one, once this is known to be its original.

        Raises RefusedError when this is another file, by its SHA-256 if the recipe has that, and
        UsageError when a file holds no recipe.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> original = gs.open("fixtures/stories260K.gguf")
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     patched = original.plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
        ...     recipe = gs.open(patched).recipe()
        >>> str(original.plan_recipe(recipe).layer_path)
        '0..2,1..4'
        """
        from ggufsurgeon.api.recipes import plan_of_recipe

        return Plan(*plan_of_recipe(self.file, recipe, progress))


class Plan:
    """A file that can be written. Made by `ModelFile.plan` or `ModelFile.plan_recipe`.

    >>> import ggufsurgeon as gs
    >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
    >>> str(plan.layer_path), plan.n_bytes
    ('0..2,1..4', 1552992)
    """

    def __init__(self, planned: PatchPlan, sha256: str | None = None) -> None:
        self.planned = planned
        self.sha256 = sha256
        """What the new file must have, where that is known: of a recipe."""
        self.written: Written | None = None
        """What `write` or `write_shards` did last: bytes that were written, or are shared."""

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

    @property
    def n_bytes_shareable(self) -> int:
        """Of these, what one file can share with its source on btrfs and XFS: it takes no room."""
        from ggufsurgeon.writing.sharing import shareable

        return sum(len(each.place) for each in shareable(self.planned.write_plan))

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
        cannot write, and VerificationError when the new file is not that of the recipe. Warns
        (PermissionsWarning) when the file that it replaces has permissions that cannot be set.
        """
        from ggufsurgeon.writing.new_file import write_new_file

        path = Path(destination)
        plan, sha256 = self.planned.write_plan, self.sha256
        self.written = write_new_file(plan, path, replace=replace, progress=progress, sha256=sha256)
        return path

    def choose_in_place(self) -> InPlaceMethod | None:
        """How `write_in_place` would do it. Changes nothing, and raises what that would."""
        from ggufsurgeon.api.in_place import choose

        return choose(self.planned)

    def write_in_place(self, progress: Progress = NO_PROGRESS) -> InPlaceMethod | None:
        """Make the source itself the new file; returns how, or None where nothing changes.

        The bytes are those that `write` writes. Where the file system can, room for the header is
        inserted and repeats are appended, so that nothing else is written; elsewhere a new file
        takes the place of the old one. Killed in between, `ModelFile.recover` undoes or finishes
        it. Raises RefusedError when blocks would be lost, when the file is known by another name
        or by its content, or in use, WriteFailedError, and VerificationError when the result
        would not be that of the recipe.

        >>> import shutil, tempfile
        >>> import ggufsurgeon as gs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = shutil.copy("fixtures/stories260K.gguf", f"{folder}/model.gguf")
        ...     how = gs.open(path).plan(gs.repeat("1:3")).write_in_place()
        ...     gs.open(path).n_blocks
        7
        """
        from ggufsurgeon.api.in_place import write

        return write(self.planned, self.sha256, progress)

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
        self.written = write_new_shards(plans, paths, progress=progress)
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
