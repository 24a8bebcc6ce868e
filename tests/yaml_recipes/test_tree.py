"""YAML that is hostile, or none: one message with its line, in little time and memory."""

from __future__ import annotations

import codecs
import re
import time
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import GgufSurgeonError, UsageError
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from ggufsurgeon.yaml_recipes.tree import MAX_N_BYTES, Items, Table, Text, read_document

BOMB = b"".join(
    (
        b"a: &a [x, x, x, x, x, x, x, x, x, x]\n",
        *(
            f"{new}: &{new} [{', '.join([f'*{old}'] * 10)}]\n".encode()
            for old, new in zip("abcdefgh", "bcdefghi", strict=True)
        ),
        b"layers: *i\n",
    )
)
HOSTILE = {
    "bomb": (BOMB, "line 5: more than 20,000 values"),
    "bomb of merge keys": (
        b"a: &a {k: v, l: w}\n" + b"b:\n" + b"  - {<<: [" + b"*a, " * 12_000 + b"*a]}\n",
        "line 3: more than 20,000 values",
    ),
    "lists": (b"[" * 60_000, "line 1: values are nested"),
    "tables": (b"{" * 60_000, "line 1: values are nested"),
    "dashes": (b"- " * 30_000, "line 1: values are nested"),
    "keys": (b"? " * 30_000, "line 1: values are nested"),
    "deep aliases": (
        b"a0: &a0 [x]\n" + b"".join(f"a{n}: &a{n} [*a{n - 1}]\n".encode() for n in range(1, 60)),
        "values are nested",
    ),
    "tag": (b"layers: !!python/object/apply:os.system [id]\n", "line 1: the tag 'tag:yaml.org"),
    "own tag": (b"\nlayers: !x 0..3\n", "line 2: the tag '!x'"),
    "itself": (b"a: &a [*a]\n", "line 1: the alias *a stands for no value"),
    "no anchor": (b"a: *b\n", "line 1: the alias *b stands for no value"),
    "twice": (b"layers: 0..3\nlayers: 0..4\n", "line 2: the key 'layers': it is given in line 1"),
    "not UTF-8": (b"layers: 0..3\nname: \xff\n", "line 2: byte 0xff is not UTF-8"),
    "UTF-16": (codecs.BOM_UTF16_LE + "layers: 0".encode("utf-16-le"), "byte 0xff is not UTF-8"),
    "control character": (b"layers: 0..3\nname: \x1b[2J\n", "line 2: YAML allows no such control"),
    "two documents": (b"---\nlayers: 0\n---\nlayers: 1\n", "line 3: a second document"),
    "nothing": (b"# nothing\n", "there is no recipe in it"),
    "text": (b"nonsense\n", "line 1: 'nonsense' is no recipe"),
    "list": (b"- layers\n", "line 1: this is no recipe"),
    "syntax": (b"layers: 0..3\nname: [\n", "line 3: this is not YAML"),
    "a key that is a list": (b"[a]: b\n", "line 1: a key that is no text"),
    "merged text": (b"<<: a\n", "line 1: << takes the keys of a table"),
    "large": (b"#" * (MAX_N_BYTES + 1), "more than 65,536 bytes"),
    "huge number": (b"layers: 0.." + b"9" * 60_000, "no model has a block"),
    "huge path": (b"layers: " + b"0..999," * 9_000 + b"0\n", "more than 10000 blocks"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_yaml_is_told_quickly_and_takes_no_memory(name: str) -> None:
    data, says = HOSTILE[name]
    start = time.monotonic()
    tracemalloc.start()
    with pytest.raises(UsageError, match=re.escape(says)) as error:
        read_yaml_recipe(data, "recipe.yaml")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert str(error.value).startswith("recipe.yaml")
    assert len(str(error.value)) < 400
    assert peak < 60 << 20
    assert time.monotonic() - start < 60  # seconds where it would be hours: machines are shared


texts = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=300)
structured = st.text(st.sampled_from("ab:-[]{}&*!?|>'\"#,<~ \n0."), max_size=200)


@given(texts | structured | st.binary(max_size=200).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_read_or_told(text: str) -> None:
    try:
        read_document(text.encode(), "x")
        read_yaml_recipe(text.encode(), "x")
    except GgufSurgeonError as error:
        assert str(error).startswith("x")


plain = st.text("abcxyz019_", min_size=1, max_size=8)
values = st.recursive(
    plain, lambda inner: st.lists(inner) | st.dictionaries(plain, inner), max_leaves=20
)


def as_flow(value: object) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"'{key}': {as_flow(v)}" for key, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(as_flow, value)) + "]"
    return f"'{value}'"


def as_values(node: Text | Items | Table) -> object:
    if isinstance(node, Text):
        return node.text
    if isinstance(node, Items):
        return [as_values(each) for each in node.nodes]
    return {entry.key: as_values(entry.node) for entry in node.entries}


@given(values)
def test_what_is_written_is_read(value: object) -> None:
    assert as_values(read_document(as_flow(value).encode(), "x").root) == value


def test_anchors_and_merge_keys_as_published_recipes_use_them() -> None:
    data = b"""
one: &one {a: 1, b: 2}
two: &two {b: 3, c: 4}
three: {<<: [*one, *two], a: 5}
"""
    root = as_values(read_document(data, "x").root)
    assert root == {
        "one": {"a": "1", "b": "2"},
        "two": {"b": "3", "c": "4"},
        "three": {"a": "5", "b": "2", "c": "4"},
    }
