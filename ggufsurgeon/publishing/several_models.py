"""What a card tells of a file that was made of several models."""

from __future__ import annotations

from collections.abc import Iterator

from ggufsurgeon.planning.recipes import Recipe

PATH_NOTE = (
    "The layer path lists which block runs at each position: inclusive ranges of blocks, numbered "
    "from 0. `1:4..11` is blocks 4 to 11 of model 1; a range without such a number is of model 0."
)


def facts_of_models(recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Rows of a table: what identifies each model, and what of it is outside the blocks."""
    for number, n_bytes, digest in _models(recipe):
        size = "" if n_bytes is None else f"{n_bytes:,} bytes, "
        yield f"model {number}", f"{size}SHA-256 of its header `{digest}`"
    outside = recipe.patches[0].outside
    if outside is not None:
        yield "token embeddings", f"of model {outside.embeddings}"
        yield "output norm and head", f"of model {outside.output}"
        yield "tokenizer", f"of model {outside.tokenizer}"


def name_of_base(recipe: Recipe, header_sha256: str | None) -> str:
    """What to call a model with this header: fine-tunes of one base may share theirs."""
    found = [number for number, _, digest in _models(recipe) if digest == header_sha256]
    return f"model {found[0]}" if len(found) == 1 else "a model with the header of several of these"


def _models(recipe: Recipe) -> Iterator[tuple[int, int | None, str]]:
    """Number, size and SHA-256 of the header of each model of the path."""
    yield 0, recipe.source.n_bytes, recipe.source.header_sha256
    for model in recipe.further:
        if model.number is not None:
            yield model.number, model.n_bytes, model.header_sha256
