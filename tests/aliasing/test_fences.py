"""What is not as expected is told in one typed error, before anything could crash."""

from __future__ import annotations

import ctypes
import os
import re
from pathlib import Path
from shutil import copyfile

import pytest

pytest.importorskip("llama_cpp", reason="needs the llama extra")

from ggufsurgeon.aliasing import aliased_model, empty_load, layout_check
from ggufsurgeon.aliasing.empty_buffer import BufferFunctions, BufferType
from ggufsurgeon.engine import tensor_map
from ggufsurgeon.engine.graph.tensor import Tensor, give_memory_of, name_of
from ggufsurgeon.engine.model import Devices, loaded_model
from ggufsurgeon.errors import AliasingUnavailableError, OutOfMemoryError, UsageError
from tests.aliasing.opening import alias_along, opened_alias
from tests.models.sharding import cut_evenly

PATH = "0..2,1..4"
IN_OTHER_PLACES = [
    (Tensor, "buffer", "data"),
    (Tensor, "data", "view_src"),
    (Tensor, "view_src", "view_offs"),
    (Tensor, "ne", "nb"),
    (Tensor, "type", "op"),
    (Tensor, "src", "op_params"),
    (Tensor, "name", "src"),
    (BufferType, "get_name", "get_alignment"),
    (BufferType, "alloc_buffer", "get_max_size"),
    (BufferType, "is_host", "device"),
    (BufferFunctions, "get_base", "free_buffer"),
    (BufferFunctions, "init_tensor", "memset_tensor"),
    (BufferFunctions, "set_tensor", "get_tensor"),
    (BufferFunctions, "clear", "reset"),
]


def with_exchanged(kind: type[ctypes.Structure], one: str, other: str) -> type[ctypes.Structure]:
    """The structure with two fields in each other's place."""
    fields = list(kind._fields_)
    names = [name for name, *_ in fields]
    first, second = names.index(one), names.index(other)
    fields[first], fields[second] = fields[second], fields[first]
    return type("Exchanged", (ctypes.Structure,), {"_fields_": tuple(fields)})


def test_this_llama_cpp_is_as_expected() -> None:
    layout_check.check_layout.__wrapped__()


@pytest.mark.parametrize(("kind", "one", "other"), IN_OTHER_PLACES)
def test_fields_in_other_places_are_found(
    kind: type[ctypes.Structure], one: str, other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout_check, kind.__name__, with_exchanged(kind, one, other))
    with pytest.raises(AliasingUnavailableError, match="differs"):
        layout_check.check_layout.__wrapped__()


def test_a_larger_tensor_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    fields = (*Tensor._fields_, ("another", ctypes.c_void_p))
    larger = type("Larger", (ctypes.Structure,), {"_fields_": fields})
    monkeypatch.setattr(layout_check, "Tensor", larger)
    with pytest.raises(AliasingUnavailableError, match="the size of ggml_tensor"):
        layout_check.check_layout.__wrapped__()


def test_without_the_list_of_tensors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_map, "FUNCTION", "_Z29llama_internal_get_tensor_mapPK11llama_model")
    with pytest.raises(AliasingUnavailableError, match="the list of a model's tensors"):
        layout_check.check_layout.__wrapped__()


def test_without_files_in_memory(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    with (
        loaded_model(stories, Devices()) as source,
        pytest.raises(AliasingUnavailableError, match="file in memory"),
    ):
        alias_along(source, PATH)


@pytest.mark.parametrize(
    "pattern", ["nothing (like it)", r"create_tensor: loading tensor (blk\.\S+)"]
)
def test_a_log_that_says_it_otherwise(
    pattern: str, stories: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(empty_load, "REQUEST", re.compile(pattern))
    with (
        loaded_model(stories, Devices()) as source,
        pytest.raises(AliasingUnavailableError, match="does not announce"),
    ):
        alias_along(source, PATH)


def test_a_weight_that_was_left_empty(stories: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forgetful(source: int, target: int) -> None:
        if name_of(target) != b"blk.6.ffn_up.weight":
            give_memory_of(source, target)

    monkeypatch.setattr(aliased_model, "give_memory_of", forgetful)
    with (
        loaded_model(stories, Devices()) as source,
        pytest.raises(AliasingUnavailableError, match=r"were not shared: blk\.6\.ffn_up\.weight"),
    ):
        alias_along(source, PATH)


def test_a_weight_of_another_shape_is_not_shared(stories: Path) -> None:
    with opened_alias(stories, PATH) as (source, model):
        weights = dict(tensor_map.weights_of(source.handle))
        others = dict(tensor_map.weights_of(model.handle))
        with pytest.raises(AliasingUnavailableError, match="another type or shape"):
            give_memory_of(weights["blk.0.attn_q.weight"], others["blk.0.ffn_up.weight"])


def test_a_shard_that_changed_since_it_was_loaded(stories: Path, tmp_path: Path) -> None:
    shards = cut_evenly(stories, tmp_path / "model")
    with loaded_model(shards[0], Devices()) as source:
        with alias_along(source, PATH):
            pass
        shards[2].touch()
        with pytest.raises(UsageError, match="has changed since it was loaded"):
            alias_along(source, PATH)


def test_a_file_that_changed_since_it_was_loaded(stories: Path, tmp_path: Path) -> None:
    file = tmp_path / "model.gguf"
    copyfile(stories, file)
    with loaded_model(file, Devices()) as source:
        with alias_along(source, PATH):
            pass
        with file.open("ab") as changed:
            changed.write(bytes(32))
        with pytest.raises(UsageError, match="has changed since it was loaded"):
            alias_along(source, PATH)


def test_a_model_that_is_aliased_itself(stories: Path) -> None:
    """Its tensors have the names of other blocks."""
    with (
        opened_alias(stories, PATH) as (_, model),
        pytest.raises(UsageError, match="this model is aliased"),
    ):
        alias_along(model, PATH)


@pytest.mark.slow
def test_no_room_for_another_cache(smollm2: Path) -> None:
    """What is there goes on."""
    with opened_alias(smollm2, "0..29,24..29") as (_, model):
        with pytest.raises(OutOfMemoryError, match="out of memory"):
            model.llama(n_ctx=100_000_000)
        assert model.llama(n_ctx=64).create_completion("Once", max_tokens=1)["choices"]


def test_what_planning_refuses_is_refused_alike(stories: Path, tmp_path: Path) -> None:
    with loaded_model(stories, Devices()) as source:
        with pytest.raises(UsageError):
            alias_along(source, "0..9")
        with alias_along(source, PATH):
            pass
