"""Shards: found by any of them, joined to the file that was split, refused where one is wrong."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.codec import make_pair, parse_header, serialize_header
from ggufsurgeon.container.headers.header import KeyValue
from ggufsurgeon.container.headers.values import ValueType
from ggufsurgeon.container.joined_bytes import opened_bytes
from ggufsurgeon.container.shards import Shard, parse_name, siblings
from ggufsurgeon.errors import GgufSurgeonError, MalformedFileError, UsageError
from tests.models.builders import U16, Tensor, gguf, llama_model, llama_pairs, pair
from tests.models.sharding import cut, cut_evenly, with_alignment


@pytest.fixture(params=[32, 64], ids=lambda alignment: f"aligned-{alignment}")
def whole(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A file whose alignment the shards behind the first do not have."""
    path = tmp_path / "whole.gguf"
    path.write_bytes(llama_model(3))
    return with_alignment(path, path, 64) if request.param == 64 else path


@pytest.mark.parametrize("given_shard", [0, 1, 2])
def test_any_shard_gives_the_file_that_was_split(
    whole: Path, tmp_path: Path, given_shard: int
) -> None:
    paths = cut_evenly(whole, tmp_path / "model")
    single, joined = open_gguf(whole), open_gguf(paths[given_shard])
    assert joined.path == paths[0]
    assert joined.header == single.header
    assert joined.layout == single.layout
    assert joined.header_sha256 == single.header_sha256
    assert joined.n_bytes == sum(path.stat().st_size for path in paths)
    assert [file.path for file in joined.files] == paths


@given(st.data())
def test_the_bytes_of_shards_are_those_of_the_file(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.mktemp("shards")
    whole = folder / "whole.gguf"
    whole.write_bytes(llama_model(3))
    if data.draw(st.booleans()):
        with_alignment(whole, whole, data.draw(st.sampled_from([8, 64, 128])))
    content, single = whole.read_bytes(), open_gguf(whole)
    ends = data.draw(st.lists(st.integers(0, len(single.header.tensors)), min_size=1, max_size=5))
    joined = open_gguf(cut(whole, folder / "model", sorted(ends))[0])
    with opened_bytes(joined) as shards, opened_bytes(single) as file:
        assert shards.read(0, shards.n_bytes + 9) == content == file.read(0, len(content) + 9)
        at, n_bytes = (data.draw(st.integers(0, len(content) + 9)) for _ in range(2))
        assert shards.read(at, n_bytes) == content[at : at + n_bytes]


class Wrong(NamedTuple):
    """A set of shards that is not right, and what the error says."""

    id: str
    says: str
    at_fault: int
    """The shard that the error names first."""
    break_it: Callable[[list[Path]], object]
    kind: type[GgufSurgeonError] = MalformedFileError


def with_pair(path: Path, key: str, kind: ValueType, raw: bytes | None) -> None:
    """Write the shard with another value of a key, or without it; no tensor moves."""
    data = path.read_bytes()
    header, n_bytes = parse_header(data, str(path))
    data = data[-(-n_bytes // 32) * 32 :] if header.tensors else b""
    kept = [pair for pair in header.pairs if pair.key != key]
    added: list[KeyValue] = [] if raw is None else [make_pair(key, kind, raw, "<")]
    new = serialize_header(replace(header, pairs=(*kept, *added)))
    path.write_bytes(new + bytes(-len(new) % 32) + data)


def with_number(key: str, value: int, number: int = 1) -> Callable[[list[Path]], object]:
    kind, fmt = (
        (ValueType.INT32, "<i") if key.endswith("tensors.count") else (ValueType.UINT16, "<H")
    )
    return lambda paths: with_pair(paths[number], key, kind, struct.pack(fmt, value))


def drop_second(paths: list[Path]) -> None:
    paths[1].unlink()


def drop_all_but_the_first(paths: list[Path]) -> None:
    for path in paths[1:]:
        path.unlink()


def link_to_nothing(paths: list[Path]) -> None:
    paths[1].unlink()
    paths[1].symlink_to("nothing")


def swap(paths: list[Path]) -> None:
    first, second = paths[1].read_bytes(), paths[2].read_bytes()
    paths[1].write_bytes(second)
    paths[2].write_bytes(first)


def of_another_cut(paths: list[Path]) -> None:
    """The second shard of the same model, cut elsewhere."""
    other = paths[0].with_name("other")
    paths[1].write_bytes(cut(paths[0].with_name("whole.gguf"), other, [3, 7])[1].read_bytes())


def of_a_shorter_cut(paths: list[Path]) -> None:
    other = paths[0].with_name("other")
    paths[1].write_bytes(cut(paths[0].with_name("whole.gguf"), other, [3, 4])[1].read_bytes())


WRONG = [
    Wrong("missing", "00002-of-00003.gguf is missing: shard 2 of the 3 shards of this model is not",
          1, drop_second, UsageError),
    Wrong("two-missing", "is missing: shards 2, 3 of the 3 shards of this model are not there", 1,
          drop_all_but_the_first, UsageError),
    Wrong("link-to-nothing", "cannot be opened: No such file", 1,
          link_to_nothing, UsageError),
    Wrong("swapped", "shard 2 of 3 by its name, and shard 3 of 3 by its metadata", 1, swap),
    Wrong("of-more", "shard 2 of 3 by its name, and shard 2 of 4 by its", 1,
          with_number("split.count", 4)),
    Wrong("of-one", "shard 2 of 3 by its name, and a single file by its", 1,
          with_number("split.count", 1)),
    Wrong("more-tensors", "it is of a model with 9 tensors, and model-00001-of-00003.gguf of one "
          "with 8", 1, with_number("split.tensors.count", 9)),
    Wrong("overlapping", "tensor 'blk.2.ffn.weight' is in model-00002-of-00003.gguf too", 2,
          of_another_cut),
    Wrong("too-few", "its 3 shards hold 6 tensors, and split.tensors.count is 8", 0,
          of_a_shorter_cut),
    Wrong("no-number", "its number (split.no) is missing", 1,
          lambda paths: with_pair(paths[1], "split.no", ValueType.UINT16, None)),
    Wrong("number-beyond", "one of 3 shards by its metadata, and its number (split.no) is 3", 1,
          with_number("split.no", 3)),
    Wrong("count-u32", "split.count is of type UINT32, and llama.cpp reads a UINT16", 1,
          lambda paths: with_pair(paths[1], "split.count", ValueType.UINT32, struct.pack("<I", 3))),
    Wrong("other-model", "its general.name is not that of model-00001-of-00003.gguf", 1,
          lambda paths: with_pair(paths[1], "general.name", ValueType.STRING,
                                  struct.pack("<Q", 5) + b"other")),
    Wrong("joined-by-cat", "bytes follow the tensors of this shard: shards that cat has joined", 0,
          lambda paths: paths[0].write_bytes(paths[0].read_bytes() + paths[1].read_bytes())),
    Wrong("cut-off", "bytes behind the end of the file", 1,
          lambda paths: paths[1].write_bytes(paths[1].read_bytes()[:-33])),
    Wrong("no-gguf", "not a GGUF file", 1, lambda paths: paths[1].write_bytes(b"GGML" * 9)),
    Wrong("empty", "the file is empty", 1, lambda paths: paths[1].write_bytes(b"")),
]  # fmt: skip


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: wrong.id)
def test_what_is_not_right_is_named(tmp_path: Path, wrong: Wrong) -> None:
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(llama_model(3))
    paths = cut(whole, tmp_path / "model", [3, 6])
    wrong.break_it(paths)
    with pytest.raises(wrong.kind) as caught:
        open_gguf(paths[0])
    assert wrong.says in str(caught.value)
    assert str(caught.value).startswith(str(paths[wrong.at_fault]))


@pytest.mark.parametrize("given_shard", [1, 2])
def test_swapped_names_are_told_of_the_given_shard(tmp_path: Path, given_shard: int) -> None:
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(llama_model(3))
    paths = cut(whole, tmp_path / "model", [3, 6])
    swap(paths)
    with pytest.raises(MalformedFileError) as caught:
        open_gguf(paths[given_shard])
    names = f"shard {given_shard + 1} of 3 by its name, and shard {4 - given_shard} of 3 by its"
    assert names in str(caught.value)
    assert str(caught.value).startswith(str(paths[given_shard]))


def test_a_renamed_shard_is_told_its_name(tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(llama_model(3))
    paths = cut_evenly(whole, tmp_path / "model")
    renamed = paths[1].rename(tmp_path / "second (1).gguf")
    with pytest.raises(MalformedFileError, match="it is shard 2 of 3 by its metadata, which"):
        open_gguf(renamed)
    with pytest.raises(UsageError) as caught:
        open_gguf(paths[2])
    assert caught.value.hint == (
        "second (1).gguf is shard 2 of 3 by its metadata: if it is this model's, name it "
        "model-00002-of-00003.gguf."
    )
    renamed.rename(paths[1])
    assert open_gguf(paths[2]).header == open_gguf(whole).header


def test_a_shard_of_another_model_is_not_taken_for_a_renamed_one(tmp_path: Path) -> None:
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(llama_model(3))
    paths = cut_evenly(whole, tmp_path / "model")
    cut_evenly(whole, tmp_path / "other")
    paths[1].unlink()
    with pytest.raises(UsageError) as caught:
        open_gguf(paths[0])
    assert caught.value.hint.startswith("Download what is missing")


def test_shards_behind_links_are_found_by_the_names_of_the_links(tmp_path: Path) -> None:
    """As in a cache of huggingface_hub, where files are named by their content."""
    whole = tmp_path / "whole.gguf"
    whole.write_bytes(llama_model(3))
    (tmp_path / "snapshot").mkdir()
    for number, path in enumerate(cut_evenly(whole, tmp_path / "model")):
        blob = path.rename(tmp_path / f"blob{number}")
        (tmp_path / "snapshot" / path.name).symlink_to(blob)
    found = open_gguf(tmp_path / "snapshot/model-00003-of-00003.gguf")
    assert found.header == open_gguf(whole).header


@pytest.mark.parametrize("count", [0, 1])
def test_what_llama_gguf_split_has_merged_is_a_single_file(tmp_path: Path, count: int) -> None:
    path = tmp_path / "merged.gguf"
    path.write_bytes(llama_model(3, pair("split.no", U16, 0), pair("split.count", U16, count)))
    assert open_gguf(path).shards == ()
    assert open_gguf(path).header.get("split.count") == count


def test_a_number_that_lies_costs_nothing(tmp_path: Path) -> None:
    keys = pair("split.no", U16, 0), pair("split.count", U16, 65535)
    path = tmp_path / "model-00001-of-65535.gguf"
    path.write_bytes(gguf(llama_pairs(1, *keys), [Tensor("x")]))
    with pytest.raises(UsageError, match=r"shards 2, 3, 4, 5, 6, 7, 8, 9, \.\.\. of the 65535"):
        open_gguf(path)


def test_names() -> None:
    assert parse_name("a-b-00002-of-00005.gguf") == ("a-b", Shard(1, 5))
    assert Shard(1, 5).name("a-b") == "a-b-00002-of-00005.gguf"
    for name in ("a-2-of-5.gguf", "-00002-of-00005.gguf", "a-00002-of-00005.gguf.part"):
        assert parse_name(name) is None
    assert siblings(Path("x/a.gguf")) == [Path("x/a.gguf")]
    assert siblings(Path("x/a-00001-of-00002.gguf")) == [
        Path("x/a-00001-of-00002.gguf"),
        Path("x/a-00002-of-00002.gguf"),
    ]
