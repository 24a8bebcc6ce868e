"""Several models in one process."""

from __future__ import annotations

import re
import resource
from pathlib import Path

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import OutOfMemoryError
from ggufsurgeon.workers.model_paths import ModelPaths
from ggufsurgeon.workers.session import Reporter, Session
from ggufsurgeon.workers.worker import Worker
from tests.models.fine_tunes import fine_tune

ONE_THREAD = Devices(n_threads=1)


def load_within(session: Session, models: ModelPaths, n_bytes: int, _reporter: Reporter) -> int:
    """A job: how many models are loaded, the others with so many bytes of address space left."""
    session.model(models.first, ONE_THREAD)
    found = re.search(r"VmSize:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    resource.setrlimit(resource.RLIMIT_AS, (1024 * int(found[1]) + n_bytes,) * 2)
    return len(models.loaded(session, ONE_THREAD).models)


def test_models_that_do_not_fit_side_by_side(stories: Path, smollm2: Path) -> None:
    models = ModelPaths(stories, (smollm2,))
    with Worker() as worker, pytest.raises(OutOfMemoryError) as caught:
        worker.run(load_within, models, 60 << 20)
    assert smollm2.name in str(caught.value)
    sizes = rf"stories260K\.gguf \(0\.0 GB\) and {re.escape(smollm2.name)} \(0\.1 GB\)"
    assert re.match(rf"All models are loaded side by side: {sizes}\.", caught.value.hint)


def test_each_file_is_loaded_once(stories: Path, tmp_path: Path) -> None:
    second = fine_tune(stories, tmp_path / "second.gguf")
    with Session() as session:
        twice = ModelPaths(stories, (second, stories, second)).loaded(session, ONE_THREAD)
        first, other, *again = twice.models
        assert again == [first, other] and first is not other
        assert twice.models[:2] == ModelPaths(stories, (second,)).loaded(session, ONE_THREAD).models
