"""Files of pictures: their formats, what is refused, and that nothing in them is by chance."""

from __future__ import annotations

import os
import subprocess
import sys
from hashlib import sha256
from pathlib import Path

import pytest

from ggufsurgeon.errors import MissingExtraError, UsageError
from ggufsurgeon.reporting.formats import FORMATS, check_picture
from ggufsurgeon.reporting.loss_picture.picture import Side, draw_losses
from tests.conftest import ROOT
from tests.reporting.measured import against, losses, result

MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "svg": b"<?xml", "pdf": b"%PDF-"}
DRAW_ALL = """
import sys
from hashlib import sha256
from ggufsurgeon.reporting.formats import FORMATS
from tests.reporting.test_formats import drawn
print(*(sha256(drawn(each)).hexdigest() for each in FORMATS))
assert "matplotlib.pyplot" not in sys.modules
"""
NOT_IMPORTED = """
import pkgutil, sys
import ggufsurgeon.api
import ggufsurgeon.reporting.formats
assert not {"matplotlib", "numpy"} & set(sys.modules)
import ggufsurgeon.reporting as reporting
for module in pkgutil.iter_modules(reporting.__path__, "ggufsurgeon.reporting."):
    __import__(module.name)
assert "matplotlib" not in sys.modules
"""


def drawn(picture_format: str) -> bytes:
    base = losses(5, 64)
    return draw_losses(picture_format, "t", Side("m", result(base)), against(base, base / 2))


def python(code: str, **variables: str) -> str:
    """What another process prints."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | variables,
        cwd=ROOT,
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout


@pytest.mark.parametrize("picture_format", FORMATS)
def test_a_picture_is_what_its_format_says(picture_format: str) -> None:
    alone = draw_losses(picture_format, "t", Side("m", result(losses(5, 64))))
    assert alone.startswith(MAGIC[picture_format])
    assert drawn(picture_format).startswith(MAGIC[picture_format])


@pytest.mark.slow
def test_the_same_losses_give_the_same_bytes() -> None:
    """In this process and in others, at other times and with other hashes."""
    here = [sha256(drawn(each)).hexdigest() for each in FORMATS]
    assert [sha256(drawn(each)).hexdigest() for each in FORMATS] == here
    for seed in ("1", "2"):
        assert python(DRAW_ALL, PYTHONHASHSEED=seed, SOURCE_DATE_EPOCH=seed).split() == here


@pytest.mark.parametrize("name", ["a.png", "a.b.SVG", "folder.txt/a.Pdf"])
def test_a_suffix_names_a_format(name: str) -> None:
    assert check_picture(Path(name)) == name[-3:].lower()


@pytest.mark.parametrize("name", ["a", "a.jpg", "a.png.txt", ".png", "svg", "a."])
def test_other_suffixes_are_refused(name: str) -> None:
    with pytest.raises(UsageError, match="suffix") as refusal:
        check_picture(Path(name))
    assert all(f".{known}" in refusal.value.hint for known in FORMATS)


def test_without_matplotlib_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError) as missing:
        check_picture(Path("a.png"))
    assert missing.value.hint == "pip install 'ggufsurgeon[plot]'"


def test_matplotlib_is_imported_where_it_draws_and_nowhere_before() -> None:
    python(NOT_IMPORTED)
