"""Names in Python: a header of the hub, and what needs more than a header."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

import ggufsurgeon as gs
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.locating.hub.address import HubAddress, HubPath, hub_address
from ggufsurgeon.locating.model_name import ModelName, model_name
from tests.locating.hub_server import COMMIT, Hub, hub_with
from tests.locating.test_hub import NAME


@pytest.fixture
def hub(tmp_path: Path, stories: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    """A hub with one model, for this process; its cache is empty."""
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub_with({"model.gguf": stories}) as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.url)
        template = f"{running.url}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        yield running


class Told:
    """A progress that keeps what it is told."""

    def __init__(self) -> None:
        self.n_bytes = 0
        self.steps: list[tuple[str, int, str]] = []

    def begin(self, step: str, total: int, unit: str) -> None:
        self.steps.append((step, total, unit))

    def advance(self, n: int, note: str = "") -> None:
        self.n_bytes += n


def test_what_needs_the_data_is_refused_until_they_are_there(
    hub: Hub, tmp_path: Path, stories: Path
) -> None:
    model = gs.open(NAME)
    assert model.is_remote and model.fetched is not None and model.fetched.commit == COMMIT
    assert str(model.path) == NAME
    plan = model.plan(gs.repeat("1:3"))
    assert plan.n_bytes == gs.open(stories).plan(gs.repeat("1:3")).n_bytes
    for refused in (
        lambda: plan.write(tmp_path / "new.gguf"),
        lambda: plan.write_shards(tmp_path / "new.gguf", 1_000_000),
        plan.write_in_place,
        plan.choose_in_place,
        model.hashes,
        lambda: model.diff(stories),
        lambda: gs.open(stories).diff(model),
        lambda: model.restore(tmp_path / "new.gguf"),
        model.recipe,
    ):
        with pytest.raises(RefusedError, match="only its header was read"):
            refused()
    assert not (tmp_path / "cache").exists()
    told = Told()
    there = model.download(told)
    assert not there.is_remote and there.file.header == model.file.header
    assert told.steps == [("download", stories.stat().st_size, "bytes")]
    assert told.n_bytes == stories.stat().st_size
    assert there.download() is there
    there.plan(gs.repeat("1:3")).write(tmp_path / "new.gguf")
    assert gs.verify(tmp_path / "new.gguf", NAME).ok


def test_load_downloads(hub: Hub, tmp_path: Path) -> None:
    with gs.load(NAME) as model:
        assert model.generate("Once upon a time", max_tokens=5).text == ", there was a little"
    assert gs.open(NAME).fetched is None


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("hf://a/b/c.gguf", HubAddress("a/b", "c.gguf")),
        ("hf:/a/b/c.gguf", HubAddress("a/b", "c.gguf")),  # as a path object has it
        ("hf://models/a/b/c/d.gguf", HubAddress("a/b", "c/d.gguf")),
        ("hf://a/b@v1/c.gguf", HubAddress("a/b", "c.gguf", "v1")),
        ("hf://a/b@refs/pr/3/c.gguf", HubAddress("a/b", "c.gguf", "refs/pr/3")),
        ("hf://a/b@x%2Fy/c.gguf", HubAddress("a/b", "c.gguf", "x/y")),
        ("hf://a/b", HubAddress("a/b", "")),
    ],
)
def test_addresses(text: str, address: HubAddress) -> None:
    name = model_name(Path(text))
    assert name is not None and hub_address(name) == address
    assert hub_address(ModelName("hf", str(address).removeprefix("hf://"))) == address
    if address.path:
        path = HubPath(str(address))
        assert str(path) == str(address) and hub_address(path) == address
        assert str(path.with_name("other.gguf")).endswith("/other.gguf")
        assert str(pickle.loads(pickle.dumps(path))) == str(path)


@pytest.mark.parametrize("path", ["model.gguf", "./hf:/a", "/hf://a/b", "hfx://a/b", "C:/hf"])
def test_paths_are_no_names(path: str) -> None:
    assert model_name(path) is None
