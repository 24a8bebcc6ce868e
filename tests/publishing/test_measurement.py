"""Figures are taken from results that are whole, and of the models that they are said to be of."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.publishing.measurement import check_belongs, read_measurement

PATCHED, ORIGINAL, OTHER = "a" * 64, "b" * 64, "c" * 64
PATH = LayerPath("0..2,1..4")
RESULT: dict[str, Any] = {
    "schema": 1,
    "tool": "ggufsurgeon 0.1.0",
    "text": {"name": "wiki.txt", "n_bytes": 9, "sha256": "d" * 64},
    "model": {"name": "rys.gguf", "header_sha256": PATCHED},
    "perplexity": 12.5,
    "perplexity_error": 0.5,
    "n_chunks": 2,
    "n_ctx": 64,
    "n_scored": 62,
    "is_partial": False,
    "base": {"perplexity": 11, "perplexity_error": 0.25, "header_sha256": ORIGINAL},
    "divergence": {
        "kl": {"mean": {"value": 0.1, "error": None}},
        "same_top": {"value": 0.75, "error": 0.1},
    },
}


def changed(*keys: str, to: Any) -> bytes:
    """The result with another value at a place; without it where `to` is Ellipsis."""
    result = deepcopy(RESULT)
    place = result
    for key in keys[:-1]:
        place = place[key]
    if to is ...:
        del place[keys[-1]]
    else:
        place[keys[-1]] = to
    return json.dumps(result).encode()


def check(content: bytes) -> None:
    check_belongs(read_measurement(content, "m.json"), "m.json", PATCHED, ORIGINAL, PATH)


def test_figures_are_those_of_the_result() -> None:
    found = read_measurement(json.dumps(RESULT).encode(), "m.json")
    assert (found.perplexity, found.base_perplexity) == ((12.5, 0.5), (11.0, 0.25))
    assert (found.kl, found.same_top) == ((0.1, None), (0.75, 0.1))
    check(json.dumps(RESULT).encode())


@pytest.mark.parametrize(
    ("keys", "value"),
    [
        (("perplexity",), "12.5"),
        (("perplexity",), float("inf")),
        (("perplexity",), True),
        (("base", "perplexity_error"), ...),
        (("n_scored",), -1),
        (("text", "sha256"), "D" * 64),
        (("text", "name"), None),
        (("tool",), "ggufsurgeon 1\n# Best model"),
        (("model",), ...),
        (("is_partial",), True),
        (("divergence", "kl"), 0.1),
    ],
)
def test_what_is_no_result_is_refused(keys: tuple[str, ...], value: Any) -> None:
    with pytest.raises(UsageError, match=r"m\.json") as refused:
        read_measurement(changed(*keys, to=value), "m.json")
    assert refused.value.hint


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda each: st.lists(each) | st.dictionaries(st.sampled_from([*RESULT]) | st.text(), each),
)


@given(st.binary() | json_values.map(lambda value: json.dumps(value).encode()))
def test_no_content_gives_another_error(content: bytes) -> None:
    with pytest.raises(UsageError):
        read_measurement(content, "m.json")


def test_a_deep_nest_is_refused() -> None:
    with pytest.raises(UsageError):
        read_measurement(b"[" * 1_000_000, "m.json")


def test_figures_of_the_original_along_the_path_are_those_of_the_file() -> None:
    result = deepcopy(RESULT)
    result["model"]["header_sha256"], result["layer_path"] = ORIGINAL, str(PATH)
    check(json.dumps(result).encode())
    result["layer_path"] = "0..4"
    with pytest.raises(RefusedError, match="another model or layer path"):
        check(json.dumps(result).encode())


def test_figures_of_another_model_or_base_are_refused() -> None:
    with pytest.raises(RefusedError, match="another model"):
        check(changed("model", "header_sha256", to=OTHER))
    for place, value in (("header_sha256", OTHER), ("header_sha256", None), ("layer_path", "0..3")):
        with pytest.raises(RefusedError, match="another base"):
            check(changed("base", place, to=value))
