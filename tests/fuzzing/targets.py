"""The laws: functions of bytes that raise nothing, whatever the bytes are.

Refusals are errors of the program's own classes. If a law is broken, a target raises AssertionError
or any other exception.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from ggufsurgeon.cli.output.values import value_as_json, value_text
from ggufsurgeon.container.ggml_types import type_size
from ggufsurgeon.container.gguf_file import GgufFile, open_gguf, read_gguf
from ggufsurgeon.container.headers.codec import parse_header, serialize_header
from ggufsurgeon.container.layout import lay_out
from ggufsurgeon.container.shards import Shard
from ggufsurgeon.diffing.contents import Contents
from ggufsurgeon.diffing.model_diff import diff_contents
from ggufsurgeon.errors import (
    GgufSurgeonError,
    LostError,
    MalformedFileError,
    RefusedError,
    UsageError,
)
from ggufsurgeon.layer_path.notations import parse_window
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.new_tensors.span_ranges import file_of_plan
from ggufsurgeon.planning.originals.restoring import plan_restore
from ggufsurgeon.planning.planner import Origin, plan_patch
from ggufsurgeon.planning.rebuilding.ingredients import find_ingredients
from ggufsurgeon.planning.rebuilding.recipe_text import parse_recipe, recipe_text
from ggufsurgeon.planning.rebuilding.recipes import (
    FileIdentity,
    Patch,
    Recipe,
    plan_recipe,
)
from ggufsurgeon.planning.sharding import in_shards
from ggufsurgeon.publishing.rebuilding_yaml import recipe_of_yaml
from ggufsurgeon.rules.application import ModelRules
from ggufsurgeon.rules.blocks import Blocks, find_blocks
from ggufsurgeon.rules.windows import judge_windows
from ggufsurgeon.sizing.prediction import DeviceSettings, predict_patch
from ggufsurgeon.write_plan import CopySpan, GatherSpan, ScaleSpan, WritePlan
from ggufsurgeon.yaml_recipes.matching import match_models
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from tests.fuzzing.mending import TOOL
from tests.models.builders import llama_model
from tests.models.in_memory import opened, run

MOST_BLOCKS = 12
"""Blocks of a model of which all windows are tried."""
TWELVE_BLOCKS = opened(llama_model(12))
Target = Callable[[bytes], None]
LONGEST_MESSAGE = 2000
"""Characters of an error with its hint: no length in a file makes it long."""


def header(data: bytes) -> None:
    """A header that is read is written as it was; one that is not has an offset."""
    try:
        found, n_bytes = parse_header(data, "any.gguf")
    except MalformedFileError as error:
        assert error.offset is not None and 0 <= error.offset <= len(data)
        _check_message(error)
        return
    assert serialize_header(found) == data[:n_bytes]
    for pair in found.pairs:
        assert isinstance(value_text(pair), str)
        json.dumps(value_as_json(pair))
    try:
        layout = lay_out(found, n_bytes, len(data), "any.gguf")
    except MalformedFileError as error:
        _check_message(error)
        return
    for tensor, size in zip(found.tensors, layout.tensor_n_bytes, strict=True):
        assert 0 <= size <= len(data) - layout.data_start - tensor.offset_in_data


def planning(data: bytes) -> None:
    """What can be read is inspected; a plan covers its file, and is that of a model."""
    file = _opened(data)
    if file is None:
        return
    try:
        blocks = find_blocks(file)
        n = blocks.n_trunk
        _inspect(file, blocks)
        same = plan_patch(file, LayerPath.identity(n)).write_plan
    except GgufSurgeonError as error:
        _check_message(error)
        return
    assert run(same, data) == data
    choice = crc32(data)
    paths = ([*range(n), n - 1], [*range(n - 1)], [0, *range(n)], [0, 0, n // 2])
    _check_patch(file, data, LayerPath.of(paths[choice % 4]), choice % 8 < 4)


def _inspect(file: GgufFile, blocks: Blocks) -> None:
    """What `inspect` shows besides the metadata."""
    ModelRules(file, blocks).labels()
    if len(blocks) <= MOST_BLOCKS:
        for judgement in judge_windows(file, blocks):
            assert len(judgement.refusal or "") < LONGEST_MESSAGE


def _check_patch(file: GgufFile, data: bytes, path: LayerPath, scale_weights: bool) -> None:
    try:
        planned = plan_patch(file, path, scale_weights=scale_weights, origin=Origin(TOOL, None))
    except GgufSurgeonError as error:
        _check_message(error)
        return
    _check_plan(planned.write_plan, file)
    predict_patch(planned, DeviceSettings())
    if any(isinstance(span, ScaleSpan) for span in planned.write_plan.spans):
        return
    new = run(planned.write_plan, data)
    patched = read_gguf(new, Path("new.gguf"))
    assert len(find_blocks(patched)) == len(planned.path)
    loses = set(range(planned.n_source_blocks)) - set(planned.path.blocks)
    try:
        restored = plan_restore(patched)
    except LostError:
        assert loses
        return
    except RefusedError:  # the size of such a tensor is a guess: up to what follows it
        assert any(type_size(tensor.type_id) is None for tensor in file.header.tensors)
        return
    assert not loses
    if not restored.remaining and len(restored.undone) == 1:
        assert run(restored.write_plan, new) == data
    with suppress(GgufSurgeonError):
        for shard in in_shards(planned.write_plan, max(len(new) * 2 // 3, 1)):
            _check_plan(shard, file)


def restoring(data: bytes) -> None:
    """A record is followed, or refused; what it gives is in range and has the recorded header."""
    file = _opened(data)
    if file is None:
        return
    with suppress(GgufSurgeonError):
        restored = plan_restore(file)
        _check_plan(restored.write_plan, file)
        written = run(restored.write_plan, data)
        again = read_gguf(written, Path("restored.gguf"))
        assert again.header_sha256 == restored.restored.header_sha256
    with suppress(GgufSurgeonError):
        find_ingredients(file)
    with suppress(GgufSurgeonError):
        _check_plan(plan_recipe(file, _recipe_for(file, crc32(data))).write_plan, file)


def _recipe_for(file: GgufFile, choice: int) -> Recipe:
    """A recipe that claims to rebuild this file, as anybody could write one."""
    identity = FileIdentity(file.layout.n_bytes, file.header_sha256, None)
    lengths = (choice % 5 + 1, choice % 7 + 1)
    paths = (LayerPath.of(block % lengths[0] for block in range(length)) for length in lengths)
    patches = tuple(Patch(path, TOOL, bool(choice % 2)) for path in paths)
    return Recipe(patches, identity, identity)


def _check_plan(plan: WritePlan, source: GgufFile) -> None:
    """Its spans lie in the source, and it makes a file."""
    n_bytes = source.layout.n_bytes
    for span in plan.spans:
        assert span.n_bytes > 0
        if isinstance(span, GatherSpan):
            assert span.offset_in_file >= 0
            assert span.offset_in_file + span.n_rows * span.row_n_bytes <= n_bytes
            for piece in span.pieces:
                assert 0 <= piece.offset_in_row <= span.row_n_bytes - piece.n_bytes
        elif isinstance(span, CopySpan | ScaleSpan):
            assert 0 <= span.offset_in_file <= n_bytes - span.n_bytes
    made = file_of_plan(source, plan)
    assert made.header_n_bytes == len(plan.header)
    assert serialize_header(made.header) == plan.header


def shards(data: bytes) -> None:
    """Two concatenated files as the shards of a model: they are joined, or refused."""
    half = _start_of_second(data)
    with tempfile.TemporaryDirectory(dir=_memory()) as folder:
        paths = [Path(folder, Shard(n, 2).name("any")) for n in range(2)]
        for path, content in zip(paths, (data[:half], data[half:]), strict=True):
            path.write_bytes(content)
        with suppress(GgufSurgeonError):
            file = open_gguf(paths[len(data) % 2])
            assert serialize_header(file.header)
            for index, size in enumerate(file.layout.tensor_n_bytes):
                place = file.place(index)
                there = file.files[place.file].layout.n_bytes
                assert 0 <= place.offset_in_file <= there - size
            plan_patch(file, LayerPath.of([*range(find_blocks(file).n_trunk), 0]))


def diffing(data: bytes) -> None:
    """Two files, one behind the other, compared; a file has no difference to itself."""
    half = _start_of_second(data)
    files = (_opened(data[:half]), _opened(data[half:]))
    contents = [_contents(file, data) for file in files if file is not None]
    for a in contents:
        assert diff_contents(a, a).same
        for b in contents:
            found = diff_contents(a, b)
            assert len(found.blocks) == len(b.blocks)
            if found.layer_path is not None:
                assert len(found.layer_path) == len(b.blocks)


def _contents(file: GgufFile, data: bytes) -> Contents:
    """A file with hashes of few values: that two tensors are equal must not be rare."""
    numbers = range(len(file.header.tensors))
    return Contents(file, tuple(str(data[file.offset_in_file(n) % len(data)] % 4) for n in numbers))


def recipe(data: bytes) -> None:
    """A recipe that is read is the same when it is written and read again."""
    try:
        found = parse_recipe(data, "any.recipe")
    except UsageError as error:
        _check_message(error)
        return
    text = recipe_text(found)
    assert text.isascii() and text.replace("\n", "").isprintable()
    assert parse_recipe(text.encode(), "again") == found


def yaml_recipe(data: bytes) -> None:
    """A recipe in YAML is one over models, or refused; a path of it names blocks that there are."""
    try:
        found = read_yaml_recipe(data, "any.yaml")
        others = {model.name: TWELVE_BLOCKS for model in found.models[1:]}
        matched = match_models(found, TWELVE_BLOCKS, others)
        if found.made_file is not None:
            recipe_of_yaml(found, found.made_file)
    except GgufSurgeonError as error:
        _check_message(error)
        return
    assert len(matched.named) == len(found.models)
    assert all(step.block < 12 for step in matched.path.steps)
    assert all(step.source < len(found.models) for step in matched.path.steps)


def layers(data: bytes) -> None:
    """A layer path or a window that is read is the same when it is written and read again."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        path = LayerPath(text)
        assert LayerPath(str(path)) == path
        path.check_within(12)
    except UsageError as error:
        _check_message(error)
    try:
        first, end = parse_window(text)
        assert parse_window(f"{first}:{end}") == (first, end)
    except UsageError as error:
        _check_message(error)


def _opened(data: bytes) -> GgufFile | None:
    try:
        return read_gguf(data, Path("any.gguf"))
    except MalformedFileError as error:
        _check_message(error)
        return None


def _check_message(error: GgufSurgeonError) -> None:
    assert len(f"{error}{error.hint}") < LONGEST_MESSAGE


def _start_of_second(data: bytes) -> int:
    at = data.find(b"GGUF", 4)
    return len(data) // 2 if at < 0 else at


def _memory() -> str | None:
    return "/dev/shm" if Path("/dev/shm").is_dir() else None


FILES: Mapping[str, Target] = {
    "header": header,
    "planning": planning,
    "restoring": restoring,
    "shards": shards,
    "diffing": diffing,
}
TEXTS: Mapping[str, Target] = {"recipe": recipe, "yaml_recipe": yaml_recipe, "layers": layers}
TARGETS: Mapping[str, Target] = {**FILES, **TEXTS}
