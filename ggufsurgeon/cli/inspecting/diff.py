"""`ggufsurgeon diff`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.models import on_disk
from ggufsurgeon.cli.output.terminal import (
    n_bytes_text,
    print_json,
    print_table,
    print_text,
    watched,
)
from ggufsurgeon.cli.output.values import value_as_json, value_text
from ggufsurgeon.cli.shared_options.options import Json, Quiet
from ggufsurgeon.container.ggml_types import type_name
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.layer_path.strengths import FULL, strength_text

if TYPE_CHECKING:
    from ggufsurgeon.container.headers.header import KeyValue
    from ggufsurgeon.diffing.block_matches import BlockMatch
    from ggufsurgeon.diffing.contents import TensorContent
    from ggufsurgeon.diffing.model_diff import ModelDiff, TensorDifference

DIFFERENT = 7
"""As for a verification that fails; 1, which diff and cmp take, is a bug here."""
MOST_ROWS = 40
MOST_NAMES = 4
"""Names that a cell shows."""


def diff(
    a: Annotated[
        Path,
        typer.Argument(metavar="A", help="GGUF file.", show_default=False, readable=False),
    ],
    b: Annotated[
        Path,
        typer.Argument(metavar="B", help="GGUF file.", show_default=False, readable=False),
    ],
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show how two GGUF files differ, and the layer path that turns A into B, if there is one.

    Exits with 0 if all keys and tensors are equal, and with 7 if not.
    """
    a, b = on_disk(a), on_disk(b)
    with watched() as progress:
        found = gs.open(a).diff(b, progress)
    if json:
        print_json(_as_json(found))
    else:
        _print(found)
    if not found.same:
        raise typer.Exit(DIFFERENT)


def _as_json(found: ModelDiff) -> dict[str, Any]:
    a, b = found.a.file, found.b.file
    return {
        "a": str(a.path),
        "b": str(b.path),
        "same": found.same,
        "same_header": a.header_sha256 == b.header_sha256,
        "n_bytes": {"a": a.layout.n_bytes, "b": b.layout.n_bytes},
        "n_blocks": {"a": len(found.a.blocks), "b": len(found.b.blocks)},
        "keys": {each.key: _values_as_json(each.in_a, each.in_b) for each in found.keys},
        "tensors": {each.name: _tensors_as_json(each) for each in found.tensors},
        "blocks": [_block_as_json(match) for match in found.blocks],
        "unused_blocks": list(found.unused),
        "layer_path": str(found.layer_path) if found.layer_path else None,
        "unexplained": None if found.unexplained is None else list(found.unexplained),
        "refusal": found.refusal or None,
    }


def _values_as_json(a: KeyValue | None, b: KeyValue | None) -> dict[str, Any]:
    return {"a": value_as_json(a) if a else None, "b": value_as_json(b) if b else None}


def _tensors_as_json(tensor: TensorDifference) -> dict[str, Any]:
    return {"a": _content_as_json(tensor.in_a), "b": _content_as_json(tensor.in_b)}


def _content_as_json(content: TensorContent | None) -> dict[str, Any] | None:
    if content is None:
        return None
    return {
        "type": type_name(content.type_id),
        "dims": list(content.dims),
        "sha256": content.sha256,
    }


def _block_as_json(match: BlockMatch) -> dict[str, Any]:
    return {
        "block": match.block,
        "same_as": match.origin,
        "strength": match.strength,
        "factors": dict(match.factors),
        "nearest": match.nearest,
        "differing": [_in_block(name) for name in match.differing],
        "n_tensors": match.n_tensors,
    }


def _in_block(name: str) -> str:
    """The name of a tensor within its block, which is block 0 here."""
    return name.replace("blk.0.", "", 1)


def _print(found: ModelDiff) -> None:
    a, b = found.a.file, found.b.file
    title = f"A is {a.path}, B is {b.path}"
    sizes = ("size", *(n_bytes_text(file.layout.n_bytes) for file in (a, b)))
    blocks = ("blocks", str(len(found.a.blocks)), str(len(found.b.blocks)))
    print_table(title, ["", "A", "B"], [sizes, blocks])
    _print_some("Keys that differ", ["key", "A", "B"], list(_key_rows(found)))
    _print_some("Tensors outside the blocks that differ", ["tensor", "A", "B"], _tensor_rows(found))
    if found.blocks and not _is_identity(found):
        rows = list(_block_rows(found.blocks))
        _print_some("Blocks of B, by their content", ["B", "A", "how"], rows)
    for line in _conclusions(found):
        print_text(line)


def _print_some(title: str, columns: list[str], rows: list[tuple[str, ...]]) -> None:
    """A table of the first rows, and how many more there are."""
    if not rows:
        return
    print_table(title, columns, rows[:MOST_ROWS])
    if len(rows) > MOST_ROWS:
        print_text(f"and {len(rows) - MOST_ROWS} more, in the JSON\n")


def _is_identity(found: ModelDiff) -> bool:
    return found.layer_path == LayerPath.identity(len(found.a.blocks))


def _key_rows(found: ModelDiff) -> Iterator[tuple[str, ...]]:
    for each in found.keys:
        texts = [value_text(pair) if pair else "-" for pair in (each.in_a, each.in_b)]
        if texts[0] == texts[1]:
            texts = [f"{text} (other bytes)" for text in texts]
        yield each.key, *texts


def _tensor_rows(found: ModelDiff) -> list[tuple[str, ...]]:
    return [(each.name, _content(each.in_a), _content(each.in_b)) for each in found.tensors]


def _content(content: TensorContent | None) -> str:
    if content is None:
        return "-"
    dims = " x ".join(map(str, content.dims))
    return f"{type_name(content.type_id)} {dims}, {content.sha256[:12]}"


def _block_rows(matches: tuple[BlockMatch, ...]) -> Iterator[tuple[str, ...]]:
    """A row for each run of blocks that are alike in the same way."""
    for (shift, how), run in groupby(matches, key=_way):
        blocks = [match.block for match in run]
        there = "-" if shift is None else str(LayerPath.of(block + shift for block in blocks))
        yield str(LayerPath.of(blocks)), there, how


def _way(match: BlockMatch) -> tuple[int | None, str]:
    """How far away the block of A is, and what it has in common."""
    if match.origin is not None:
        return match.origin - match.block, f"the same{_multipliers(match)}"
    names = [_in_block(name) for name in match.differing]
    more = f" and {len(names) - MOST_NAMES} more" if len(names) > MOST_NAMES else ""
    if match.nearest is None:
        return None, "no tensor in common"
    n_differ = f"{len(names)} of {match.n_tensors} tensors differ"
    return match.nearest - match.block, f"{n_differ}: {', '.join(names[:MOST_NAMES])}{more}"


def _multipliers(match: BlockMatch) -> str:
    """The strength and the factors with which a block is one of A; nothing for one as it is."""
    factors = [f"{name} times {strength_text(factor)}" for name, factor in match.factors]
    if match.strength != FULL:
        factors.insert(0, f"the strength {strength_text(match.strength)}")
    return f", with {' and '.join(factors)}" if factors else ""


def _conclusions(found: ModelDiff) -> Iterator[str]:
    if found.same:
        same_header = found.a.file.header_sha256 == found.b.file.header_sha256
        order = "" if same_header else ", in another order"
        yield f"All keys and tensors are equal{order}."
        return
    if found.layer_path is None:
        n_found = sum(match.origin is not None for match in found.blocks)
        yield (
            f"No layer path over A is found that gives the blocks of B: {n_found} of "
            f"{len(found.blocks)} are blocks of A."
        )
        if found.of_donor:
            yield (
                "By its record, B is made of A with the MTP blocks of another file, whose header "
                f"has a SHA-256 that begins with {found.of_donor[:16]}."
            )
        return
    if _is_identity(found):
        yield "The blocks are the same, in the same order."
    else:
        yield f"The blocks of B are those of the layer path {found.layer_path} over A."
    if found.refusal:
        yield f"patch refuses to make a file along it: {found.refusal}"
    elif found.unexplained:
        yield f"What patch would make of A has other: {', '.join(found.unexplained)}"
    elif found.unexplained is not None:
        without = " without its MTP blocks" if found.without_mtp else ""
        yield f"Names and records aside, B is what patch makes of A{without} along it."
