"""A source that is no longer what was planned with: nothing is written."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ggufsurgeon.errors import WriteFailedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.write_plan import CopySpan
from ggufsurgeon.writing.new_file import write_new_file
from ggufsurgeon.writing.span_writers import copying
from ggufsurgeon.writing.span_writers.copying import CopyMethod
from tests.calls import plan
from tests.models.builders import llama_model
from tests.writing.plans import listing, plan_over

PATH = LayerPath.of([0, 1, 1, 2])
Change = Callable[[Path], object]


def grown(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"x")


def shrunk(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 1)


def other_header(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"Tiny", b"Taxi"))


def other_model(path: Path) -> None:
    path.write_bytes(llama_model(4))


def gone(path: Path) -> None:
    path.unlink()


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    "change", [grown, shrunk, other_header, other_model, gone, a_folder], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("old", [None, b"old"], ids=["new", "replace"])
def test_changed_since_the_plan(tmp_path: Path, change: Change, old: bytes | None) -> None:
    source, folder = tmp_path / "source.gguf", tmp_path / "folder"
    source.write_bytes(llama_model(3))
    folder.mkdir()
    if old:
        (folder / "new.gguf").write_bytes(old)
    planned = plan(source, PATH)
    change(source)
    before = listing(tmp_path)
    with pytest.raises(
        WriteFailedError, match=r"source\.gguf|Is a directory|No such file"
    ) as caught:
        write_new_file(planned.write_plan, folder / "new.gguf", replace=old is not None)
    assert caught.value.exit_code == 5
    assert listing(tmp_path) == before


@pytest.mark.parametrize("methods", [copying.METHODS, *((method,) for method in copying.METHODS)])
def test_cut_short_while_it_is_read(tmp_path: Path, methods: tuple[CopyMethod, ...]) -> None:
    source, folder = tmp_path / "source", tmp_path / "folder"
    source.write_bytes(bytes(1000))
    folder.mkdir()
    plan = plan_over([source], b"head", [CopySpan(0, 0, 1000)])

    class Cutter:
        def begin(self, step: str, total: int, unit: str) -> None:
            os.truncate(source, 500)

        def advance(self, n: int, note: str = "") -> None: ...

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(copying, "METHODS", methods)
        with pytest.raises(WriteFailedError, match="source ends at byte 500"):
            write_new_file(plan, folder / "new", progress=Cutter())
    assert listing(folder) == {}
