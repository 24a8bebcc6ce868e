"""The checks of the selftest, each a promise of this program, in a folder of their own."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ggufsurgeon.api.model_files.files import open_model
from ggufsurgeon.errors import GgufSurgeonError, VerificationError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.selftest.tiny_model import N_BLOCKS, tiny_model
from ggufsurgeon.writing.new_file import write_bytes

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.options import Devices

PATHS = {
    "repeat": LayerPath("0..3,2..5"),
    "prune": LayerPath("0..1,4..5"),
    "reorder": LayerPath("0,2,1,4,3,5"),
    "strength": LayerPath("0..3,2..3*0.5,4..5"),
}


class Outcome(NamedTuple):
    """A check, whether it held (None: it could not be made), and what was found."""

    name: str
    ok: bool | None
    detail: str


def run_selftest(
    folder: Path, devices: Devices | None = None, progress: Progress = NO_PROGRESS
) -> Iterator[Outcome]:
    """Make a tiny model in an empty folder, and yield the outcome of each check on it.

    Without llama-cpp-python, or where it does not work, what needs it has the outcome None. Errors
    that are no bugs are outcomes too.
    """
    original = folder / "original.gguf"
    write_bytes(tiny_model(), original, replace=False)
    for name, check in _file_checks(original).items():
        yield _made(name, check)
    for name, path in PATHS.items():
        yield _verified(name, original, path, devices, progress)


def _file_checks(original: Path) -> dict[str, Callable[[], str]]:
    return {
        "all blocks in order: the same file": lambda: _identity(original),
        "restore: the original, to the byte": lambda: _restored(original),
        "recipe: the patched file, to the byte": lambda: _rebuilt(original),
        "in place: the patched file, to the byte": lambda: _edited(original),
    }


def _made(name: str, check: Callable[[], str]) -> Outcome:
    try:
        return Outcome(name, True, check())
    except (GgufSurgeonError, OSError) as error:
        return Outcome(name, False, str(error))


def _patched(original: Path, path: LayerPath, name: str) -> Path:
    destination = original.with_name(f"{name}.gguf")
    return open_model(original).plan(path).write(destination, replace=True)


def _identity(original: Path) -> str:
    return _same(_patched(original, LayerPath.identity(N_BLOCKS), "identity"), original)


def _restored(original: Path) -> str:
    patched = _patched(original, PATHS["repeat"], "patched")
    restored = original.with_name("restored.gguf")
    open_model(patched).restore(restored)
    return _same(restored, original)


def _rebuilt(original: Path) -> str:
    patched = _patched(original, PATHS["prune"], "patched")
    recipe = open_model(patched).recipe()
    rebuilt = original.with_name("rebuilt.gguf")
    return _same(open_model(original).plan_recipe(recipe).write(rebuilt), patched)


def _edited(original: Path) -> str:
    patched = _patched(original, PATHS["repeat"], "patched")
    edited = Path(shutil.copyfile(original, original.with_name("edited.gguf")))
    open_model(edited).plan(PATHS["repeat"]).write_in_place()
    return _same(edited, patched)


def _same(found: Path, expected: Path) -> str:
    content = found.read_bytes()
    if content != expected.read_bytes():
        raise VerificationError(f"{found.name} differs from {expected.name}")
    return f"{len(content):,} bytes"


def _verified(
    name: str, original: Path, path: LayerPath, devices: Devices | None, progress: Progress
) -> Outcome:
    """Whether a patched file computes what its path says: written, aliased and routed."""
    from ggufsurgeon.api.model_files.verifying import verify

    title = f"{name} ({path})"
    try:
        patched = _patched(original, path, name)
        found = verify(patched, original, devices=devices, progress=progress)
    except GgufSurgeonError as error:
        return Outcome(title, False, str(error))
    if found.ok is None and found.hindrance is not None:
        return Outcome(title, None, f"file proven; not run: {found.hindrance}")
    wrong = [f"{check.name}: {check.detail}" for check in found.checks if not check.ok]
    if not found.ok:
        return Outcome(title, False, "; ".join(wrong))
    return Outcome(title, True, ", ".join(found.proven))
