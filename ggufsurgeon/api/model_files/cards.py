"""The content of the model card of a patched file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.api.recipe_files.recipes import recipe_of
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.hashing.whole_file import unreadable
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.other_sources import OtherSource
from ggufsurgeon.planning.originals.original_path import original_path_of
from ggufsurgeon.planning.rebuilding.ingredients import find_ingredients
from ggufsurgeon.planning.rebuilding.recipes import Recipe
from ggufsurgeon.progress import NO_PROGRESS, Progress
from ggufsurgeon.publishing.card import CardContent
from ggufsurgeon.publishing.hub_metadata import is_repository
from ggufsurgeon.publishing.measurement import (
    Measurement,
    check_belongs,
    check_belongs_to_several,
    read_measurement,
)
from ggufsurgeon.publishing.modelfile import modelfile
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.store.fingerprint import ModelFingerprint

LONGEST = 1 << 26
"""Bytes of a result that is read: one with the losses of a million chunks is smaller."""


def card_content(
    patched: PathLike,
    measured: Sequence[PathLike] = (),
    base_models: Sequence[str] = (),
    progress: Progress = NO_PROGRESS,
) -> CardContent:
    """The content of the card of a patched file, with the SHA-256 of the file and its original.

    The card of a file of several models says which these are, as far as the file records it.

    `measured` are files with the JSON output of `ggufsurgeon perplexity`, `base_models` are names
    of the originals on the Hub. Raises RefusedError for a file that records no patch and for
    figures of other models, and UsageError for invalid results and names.
    """
    for name in base_models:
        if not is_repository(name):
            raise UsageError(f"{quoted(name)} is not the name of a repository: expected ORG/NAME")
    file, bases = open_gguf(patched), tuple(dict.fromkeys(base_models))
    made_of = find_ingredients(file)
    layer_path = original_path_of(file, made_of).layer_path
    results = [(str(path), _read(Path(path))) for path in measured]
    figures = tuple(measurement for _, measurement in results)
    recipe = recipe_of(file, made_of, progress)
    for where, measurement in results:
        _check(measurement, where, file, recipe, layer_path)
    return CardContent(file, recipe, layer_path, figures, bases, made_of.models)


def _check(
    measurement: Measurement, where: str, file: GgufFile, recipe: Recipe, path: LayerPath
) -> None:
    """Raise RefusedError unless the figures are those of the patched file."""
    patched = ModelFingerprint.of(file.path)
    original = OtherSource(recipe.source.n_bytes, recipe.source.header_sha256)
    if recipe.patches[0].outside is None:
        check_belongs(measurement, where, patched, original, path)
        return
    further = [
        OtherSource(model.n_bytes, model.header_sha256)
        for model in recipe.further
        if model.n_bytes is not None
    ]
    check_belongs_to_several(measurement, where, patched, [original, *further])


def modelfile_of(path: PathLike) -> str:
    """The Modelfile for a language model. Raises RefusedError where Ollama cannot take the file."""
    file = open_gguf(path)
    find_blocks(file)
    return modelfile(file)


def _read(path: Path) -> Measurement:
    try:
        with path.open("rb") as file:
            content = file.read(LONGEST + 1)
    except OSError as error:
        raise unreadable(path, error) from None
    if len(content) > LONGEST:
        raise UsageError(f"{path}: more than {LONGEST:,} bytes: too long for a result")
    return read_measurement(content, str(path))
