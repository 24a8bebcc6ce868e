"""Companions of a model, re-indexed for a patched one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.companions.planner import CompanionPlan, plan_companion, plan_companion_of
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.locating.locate import is_remote, local_file, locate
from ggufsurgeon.progress import NO_PROGRESS, Progress


class Companion:
    """A companion that can be written. Made by `ModelFile.plan_companion`."""

    def __init__(self, planned: CompanionPlan, models: Sequence[Path] = ()) -> None:
        self.planned = planned
        self._models = models

    @property
    def notes(self) -> tuple[str, ...]:
        """Facts about the new companion that a user should know."""
        return self.planned.notes

    @property
    def n_bytes(self) -> int:
        """The size of the new file in bytes."""
        return self.planned.write_plan.n_bytes

    def write(
        self, destination: PathLike, *, replace: bool = False, progress: Progress = NO_PROGRESS
    ) -> Path:
        """Write the file; the destination is absent, as it was or complete, whatever happens.

        Raises RefusedError when the destination exists (unless `replace`), or is the companion or
        one of the models, and WriteFailedError when the system cannot write.
        """
        from ggufsurgeon.writing.new_file import write_new_file
        from ggufsurgeon.writing.placement.preflight import check_place

        path = Path(destination)
        check_place(self._models, path, replace=replace)
        write_new_file(self.planned.write_plan, path, replace=replace, progress=progress)
        return path


def plan(
    source: GgufFile,
    companion: PathLike,
    path: AnyPath | None,
    patched: PathLike | None,
    number: int | None,
    other_base: bool,
) -> Companion:
    """As `ModelFile.plan_companion`."""
    if (path is None) == (patched is None):
        raise UsageError("expected a layer path, or the patched model, and not both")
    file = open_gguf(local_file(companion))
    models = [] if is_remote(source) else [each.path for each in source.files]
    if path is not None:
        if number is not None:
            raise UsageError(
                "the number of a model is only for a patched file, not for a layer path"
            )
        return Companion(plan_companion(file, source, path, other_base=other_base), models)
    made = locate(patched).file  # type: ignore[arg-type]
    planned = plan_companion_of(file, source, made, number=number, other_base=other_base)
    models += [] if is_remote(made) else [each.path for each in made.files]
    return Companion(planned, models)
