"""Models by name, on the command line: found, downloaded with a bar, and shown."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ggufsurgeon as gs
from ggufsurgeon.cli.interrupted import Interrupted
from ggufsurgeon.cli.output.terminal import n_bytes_text, watched
from ggufsurgeon.locating.model_name import model_name, shown_name

RESUMES = "what was downloaded is kept, and the same command resumes the download."
STARTS_AGAIN = (
    "huggingface_hub kept nothing of the file that it was downloading; the next run downloads it "
    "from the start."
)


def on_disk(model: Path) -> Path:
    """The file that an argument names; one on the hub is downloaded first."""
    from ggufsurgeon.locating.locate import local_file

    if model_name(model) is None:
        return local_file(model)
    with telling_what_is_kept(model), watched() as progress:
        return local_file(model, progress)


@contextmanager
def telling_what_is_kept(model: Path) -> Iterator[None]:
    """Within the block, an interruption says what is kept of a model that is downloaded."""
    from ggufsurgeon.locating.hub.address import hub_address
    from ggufsurgeon.locating.stores.hub_cache import hub_cache, incomplete_parts

    name = model_name(model)
    if name is None or name.scheme != "hf":
        yield
        return
    repo = hub_address(name).repo
    before = incomplete_parts(hub_cache(), repo)
    try:
        yield
    except Interrupted as interrupt:
        after = incomplete_parts(hub_cache(), repo)
        is_kept = any(n_bytes > before.get(path, 0) for path, n_bytes in after.items())
        interrupt.state = f"{name}: {RESUMES if is_kept else STARTS_AGAIN}"
        raise


def all_on_disk(models: Iterable[Path]) -> list[Path]:
    """The files that arguments name, as by `on_disk`."""
    return [on_disk(model) for model in models]


def as_argument(model: Path) -> Path | str:
    """A model as an argument of a command that is shown."""
    return model if model_name(model) is None else shown_name(model)


def as_given(files: Iterable[Path], given: Iterable[Path]) -> list[Path]:
    """Files on disk as they were named by `given` arguments, where one of them names it."""
    from ggufsurgeon.locating.locate import local_file

    names = {local_file(each): each for each in given if model_name(each) is not None}
    return [names.get(file, file) for file in files]


def fetched_text(model: gs.ModelFile) -> str:
    """What was read of a model on the hub; nothing for a file on disk."""
    if model.fetched is None:
        return ""
    n_bytes = f"{n_bytes_text(model.fetched.n_bytes)} ({model.fetched.n_bytes:,} bytes)"
    return f"{n_bytes}, of commit {model.fetched.commit}; the model was not downloaded"


def fetched_as_json(model: gs.ModelFile) -> dict[str, Any] | None:
    """What was read of a model on the hub; None for a file on disk."""
    if model.fetched is None:
        return None
    return {"commit": model.fetched.commit, "n_bytes": model.fetched.n_bytes}
