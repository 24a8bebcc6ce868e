"""What tests of the leaderboard share: documents at hand, and caches of their own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.leaderboard.mirrors import write_mirror, write_sentence_splitter

SHARED = ROOT.parent / "shared/data/leaderboard"


@pytest.fixture(scope="session", autouse=True)
def harness_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Caches of `datasets` and data of NLTK that are nobody else's, before either is imported."""
    home = tmp_path_factory.mktemp("harness")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HOME", str(home / "huggingface"))
        patch.setenv("NLTK_DATA", str(write_sentence_splitter(home / "nltk")))
        yield home


@pytest.fixture(scope="session")
def mirror(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All six benchmarks, with made-up documents."""
    return write_mirror(tmp_path_factory.mktemp("benchmarks") / "mirror")


@pytest.fixture(scope="session")
def shared_benchmarks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Small parts of four benchmarks and all of IFEval, which are not in the repository."""
    if not SHARED.is_dir():
        pytest.skip("real documents are not beside the checkout")
    folder = tmp_path_factory.mktemp("shared")
    for name in ("bbh", "ifeval", "musr", "mmlu_pro"):
        (folder / name).symlink_to(SHARED / name)
    return folder
