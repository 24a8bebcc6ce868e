"""Plans of patched files, and writing them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.container.shards import paths_at
from ggufsurgeon.errors import RefusedError, UsageError, VerificationError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.locating.locate import check_on_disk
from ggufsurgeon.planning.planner import Change, PatchPlan
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.write_plan import Written

if TYPE_CHECKING:
    from ggufsurgeon.in_place.methods import InPlaceMethod
    from ggufsurgeon.planning.rebuilding.recipes import Recipe
    from ggufsurgeon.sizing.prediction import Prediction


class Plan:
    """A file that can be written. Made by `ModelFile.plan` or `ModelFile.plan_recipe`.

    >>> import ggufsurgeon as gs
    >>> plan = gs.open("fixtures/stories260K.gguf").plan(gs.repeat("1:3"))
    >>> str(plan.layer_path), plan.n_bytes
    ('0..2,1..4', 1552992)
    """

    def __init__(self, planned: PatchPlan, recipe: Recipe | None = None) -> None:
        self.planned = planned
        self.recipe = recipe
        """The recipe of this plan, if any: it gives the shards of the result and their SHA-256."""
        self.written: Written | None = None
        """Bytes written and shared by the last call of `write` or `write_shards`."""

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
        """Bytes that a single new file can share with its source on btrfs and XFS."""
        from ggufsurgeon.writing.span_writers.sharing import shareable

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

        With a recipe for shards, shards are written as by `write_shards`; the returned path is that
        of the first shard, and `paths_at` gives all. Raises RefusedError when the destination
        exists (unless `replace`, which is only for a single file), or only the header of the source
        was read, WriteFailedError when the system cannot write, and VerificationError when the new
        file is not that of the recipe. Warns (PermissionsWarning) when the file that it replaces
        has permissions that cannot be set.
        """
        from ggufsurgeon.planning.sharding import in_shards_of
        from ggufsurgeon.writing.new_file import write_new_file, write_new_shards

        check_on_disk(self.planned.source, *self.planned.others)
        paths, plan = self.paths_at(destination), self.planned.write_plan
        with _naming_models(self.planned):
            if self.recipe is None or len(paths) == 1:
                sha256 = self._sha256_of_file()
                self.written = write_new_file(
                    plan, paths[0], replace=replace, progress=progress, sha256=sha256
                )
            else:
                plans = in_shards_of(plan, self.recipe.patches[-1].n_tensors)
                sha256s = [shard.sha256 or "" for shard in self.recipe.result.shards]
                self.written = write_new_shards(plans, paths, progress=progress, sha256s=sha256s)
        return paths[0]

    def paths_at(self, destination: PathLike) -> tuple[Path, ...]:
        """The files that `write` writes: the destination, or shards named by it."""
        n_shards = len(self.recipe.result.shards) if self.recipe else 0
        return tuple(paths_at(Path(destination), n_shards))

    def choose_in_place(self) -> InPlaceMethod | None:
        """The method that `write_in_place` would use. Changes nothing; raises the same errors."""
        from ggufsurgeon.api.model_files.in_place import choose

        self._sha256_of_file()
        return choose(self.planned)

    def write_in_place(self, progress: Progress = NO_PROGRESS) -> InPlaceMethod | None:
        """Edit the source file itself; returns the method, or None if nothing changes.

        The result has the same bytes as the file that `write` writes. Where the file system
        supports it, space for the header is inserted, repeats are appended and nothing else is
        written; elsewhere a new file replaces the old one. If the process is killed,
        `ModelFile.recover` undoes or finishes the edit. Raises RefusedError when blocks would be
        lost, or the file has another name, is named by its content, or is in use, WriteFailedError,
        and VerificationError when the result would not be that of the recipe.

        >>> import shutil, tempfile
        >>> import ggufsurgeon as gs
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = shutil.copy("fixtures/stories260K.gguf", f"{folder}/model.gguf")
        ...     how = gs.open(path).plan(gs.repeat("1:3")).write_in_place()
        ...     gs.open(path).n_blocks
        7
        """
        from ggufsurgeon.api.model_files.in_place import write

        return write(self.planned, self._sha256_of_file(), progress)

    def _sha256_of_file(self) -> str | None:
        """The SHA-256 that a single new file must have by the recipe; None without a recipe.

        Raises RefusedError when the recipe is for shards.
        """
        if self.recipe is None:
            return None
        if self.recipe.result.shards:
            raise RefusedError(
                "the recipe makes shards, but only a single file can be edited in place",
                hint="Give a destination for the shards.",
            )
        return self.recipe.result.sha256

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
        from ggufsurgeon.planning.sharding import in_shards
        from ggufsurgeon.writing.new_file import write_new_shards

        check_on_disk(self.planned.source, *self.planned.others)
        plans = in_shards(self.planned.write_plan, max_n_bytes)
        if len(plans) == 1:
            return (self.write(destination, progress=progress),)
        paths = paths_at(Path(destination), len(plans))
        self.written = write_new_shards(plans, paths, progress=progress)
        return tuple(paths)


@contextmanager
def _naming_models(planned: PatchPlan) -> Iterator[None]:
    """Says of several files of a recipe that they may be confused, where the result is another."""
    try:
        yield
    except VerificationError as error:
        if planned.others:
            error.hint = (
                "Files with the same header may be swapped, or wrong: compare the SHA-256 of each "
                "with that of the file that the recipe was made for."
            )
        raise
