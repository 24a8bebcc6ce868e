"""Model files, read by their headers: inspection, and what can be done with them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace as changed
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.model_files.inspection import Inspection, inspect_file
from ggufsurgeon.api.model_files.plans import Plan
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.api.recipe_files.recipe_methods import RecipeMethods
from ggufsurgeon.container.shards import paths_at
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.locating.locate import local_file
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:
    from ggufsurgeon.api.model_files.companions import Companion
    from ggufsurgeon.diffing.model_diff import ModelDiff
    from ggufsurgeon.hashing.whole_file import FileHashes
    from ggufsurgeon.in_place.recovery import Recovery
    from ggufsurgeon.layer_path.outside import OutsideBlocks
    from ggufsurgeon.planning.originals.restoring import RestorePlan


class ModelFile(RecipeMethods):
    """A GGUF file, known by its header alone. Made by `ggufsurgeon.open`.

    For a model on the Hugging Face Hub, only the header is read. Methods that need the data raise
    RefusedError; call them on the result of `download`.

    >>> import ggufsurgeon as gs
    >>> model = gs.open("fixtures/stories260K.gguf")
    >>> model.architecture, model.n_blocks
    ('llama', 5)
    """

    def download(self, progress: Progress = NO_PROGRESS) -> ModelFile:
        """This model on disk: a remote one is downloaded into the cache of huggingface_hub.

        Raises UsageError when the Hub or the network fails, and WriteFailedError when the cache
        cannot be written.
        """
        return ModelFile(local_file(self.path, progress)) if self.is_remote else self

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
        return inspect_file(self.file)

    def hashes(self, progress: Progress = NO_PROGRESS) -> FileHashes:
        """SHA-256 of the whole file and of the data of each tensor; the file is read once.

        For a model in shards, the whole file is that of the joined shards, and each shard is also
        hashed.

        Raises UsageError when it cannot be read.

        >>> import ggufsurgeon as gs
        >>> hashes = gs.open("fixtures/stories260K.gguf").hashes()
        >>> hashes.sha256[:8], len(hashes.tensors)
        ('270cba1b', 48)
        """
        from ggufsurgeon.hashing.whole_file import hash_file

        return hash_file(self._on_disk(), progress)

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
        from ggufsurgeon.api.model_files.diffs import diff_files

        other = other if isinstance(other, ModelFile) else ModelFile(other)
        return diff_files(self._on_disk(), other._on_disk(), progress)

    def plan(
        self,
        path: AnyPath,
        *,
        others: Sequence[ModelFile | PathLike] = (),
        outside: OutsideBlocks | None = None,
        scale_weights: bool = False,
        without_mtp: bool = False,
        mtp_from: ModelFile | PathLike | None = None,
    ) -> Plan:
        """Plan the file in which the blocks of `path` run. Nothing is written.

        `others` are models 1, 2, ... of a path over several models, such as "0..2,1:2..4".
        `outside` says which models the embeddings, the output and the tokenizer come from; by
        default, the model of the first block, that of the last block, and this model.
        `scale_weights` allows files that are equal within rounding only. `without_mtp` leaves MTP
        blocks out, and `mtp_from` is a file of the same model to take them from; by default, they
        are unchanged. Raises
        RefusedError when no exact file exists, UsageError when the path does not fit the models.

        >>> import ggufsurgeon as gs
        >>> model = gs.open("fixtures/stories260K.gguf")
        >>> plan = model.plan(gs.LayerPath("0..2,1:2..4"), others=["fixtures/stories260K.gguf"])
        >>> str(plan.layer_path)  # a file that is there twice is one model
        '0..2,2..4'
        """
        from ggufsurgeon.api.model_files.sources import plan_over

        if without_mtp or mtp_from is not None:
            from ggufsurgeon.api.model_files.mtp import plan_mtp

            given = (without_mtp, mtp_from, bool(others) or outside is not None)
            return Plan(plan_mtp(self.file, path, *given, scale_weights=scale_weights))
        files = [(o if isinstance(o, ModelFile) else ModelFile(o)).file for o in others]
        return Plan(plan_over(self.file, path, files, outside, scale_weights=scale_weights))

    def plan_companion(
        self,
        companion: PathLike,
        path: AnyPath | None = None,
        *,
        patched: PathLike | None = None,
        number: int | None = None,
        other_base: bool = False,
    ) -> Companion:
        """Plan a LoRA adapter, imatrix, control vectors or draft of this model for a patched one.

        The patched model is given by its layer `path`, or by the file `patched`, whose record has
        the path. If `patched` is made of several models, the companion follows the blocks of this
        one; `number` is the number of this model in the layer path, which is needed where several
        of them have its header and data (SeveralNumbersError). `other_base` accepts a companion
        whose metadata name another base model. Raises RefusedError when the companion does not
        belong to this model, or has no meaning on the path, and UsageError unless one of `path` and
        `patched` is given.
        """
        from ggufsurgeon.api.model_files.companions import plan

        return plan(self.file, companion, path, patched, number, other_base)

    def restore(
        self, destination: PathLike, *, replace: bool = False, progress: Progress = NO_PROGRESS
    ) -> RestorePlan:
        """Write the file that this patched one was made from, byte for byte, from this one alone.

        If the original was in shards, shards are written, named as by `Plan.write_shards`; the
        result has one of `file_plans` for each. Several patches are undone at once. In the result,
        `remaining` says why an earlier patch cannot be undone, if so, and `written` has the numbers
        of bytes that were written and that are shared with this file. Raises RefusedError when not
        even the last patch can be undone, or the destination exists (unless `replace`, which is
        only for a single file), and WriteFailedError when the system cannot write.

        >>> import filecmp, tempfile
        >>> import ggufsurgeon as gs
        >>> source = "fixtures/stories260K.gguf"
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     patched = gs.open(source).plan(gs.repeat("1:3")).write(f"{folder}/patched.gguf")
        ...     restored = gs.open(patched).restore(f"{folder}/restored.gguf")
        ...     filecmp.cmp(source, f"{folder}/restored.gguf", shallow=False)
        True
        """
        from ggufsurgeon.planning.originals.restoring import plan_restore
        from ggufsurgeon.writing.new_file import write_new_file, write_new_shards

        planned = plan_restore(self._on_disk())
        plans = planned.file_plans
        paths = paths_at(Path(destination), len(plans))
        if len(plans) == 1:
            written = write_new_file(plans[0], paths[0], replace=replace, progress=progress)
        else:
            written = write_new_shards(plans, paths, progress=progress)
        return changed(planned, written=written)

    @staticmethod
    def recover(path: PathLike) -> Recovery:
        """Undo or finish an interrupted edit in place of the file at `path`, if there is one.

        The file cannot be opened before. Raises UsageError when there is no such file,
        RefusedError, with nothing changed, when the journal does not belong to the file or another
        process has the file open, and WriteFailedError, after which it can be tried again.

        >>> import ggufsurgeon as gs
        >>> gs.ModelFile.recover("fixtures/stories260K.gguf").value
        'nothing'
        """
        from ggufsurgeon.api.model_files.in_place import recover_file

        return recover_file(path)


def open_model(path: PathLike) -> ModelFile:
    """Open a GGUF file and read its header.

    `path` is a path or a name. The name `hf://ORG/REPO/FILE.gguf` is a file on the Hugging Face
    Hub; only its header is read unless the file is in the cache of huggingface_hub. The names
    `ollama://MODEL:TAG`, `lmstudio://PUBLISHER/MODEL/FILE.gguf` and `llama.cpp://ORG/REPO:QUANT`
    are files that these programs have downloaded.

    Raises UsageError when it cannot be read, MalformedFileError when its content breaks the format,
    and MissingExtraError for a name on the Hub without huggingface_hub.

    >>> import ggufsurgeon as gs
    >>> gs.open("fixtures/stories260K.gguf").n_bytes
    1185376
    """
    return ModelFile(path)
