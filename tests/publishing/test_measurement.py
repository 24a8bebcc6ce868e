"""Figures are taken from results that are whole, and of the models that they are said to be of."""

from __future__ import annotations

import json
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.cli.output.serializers import comparison_as_json
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.other_sources import OtherSource
from ggufsurgeon.publishing.consistency import check_consistent
from ggufsurgeon.publishing.measurement import (
    check_belongs,
    check_belongs_to_several,
    read_measurement,
)
from ggufsurgeon.statistics.divergence import compare_scores
from ggufsurgeon.statistics.scores import PairedScores
from ggufsurgeon.store.fingerprint import ModelFingerprint

PATCHED = ModelFingerprint("a" * 64, "e" * 64, 1500)
ORIGINAL = OtherSource(1000, "b" * 64)
OF_ORIGINAL = {"header_sha256": "b" * 64, "data_fingerprint": "f" * 64, "n_bytes": 1000}
OTHER = "c" * 64
PATH = LayerPath("0..2,1..4")


def result() -> dict[str, Any]:
    """A result as the command prints it, of scores that are made up."""
    random = np.random.default_rng(0)
    base_losses = random.gamma(2, 1.2, (2, 60)).astype(np.float32)
    losses = np.abs(base_losses + random.normal(0.1, 0.3, (2, 60)).astype(np.float32))
    kl = random.gamma(1, 0.1, (2, 60))
    found = compare_scores(PairedScores(losses, base_losses, kl, kl < 0.15))
    mine, base = found.perplexity, found.base_perplexity
    both = {"n_chunks": 2, "n_ctx": 64, "n_scored": 120, "is_partial": False}
    return {
        "schema": 1,
        "tool": "ggufsurgeon 1.0.0",
        "text": {"name": "wiki.txt", "n_bytes": 9, "sha256": "d" * 64},
        "model": {"name": "rys.gguf", **PATCHED._asdict()},
        "perplexity": mine.value,
        "perplexity_error": mine.error,
        **both,
        "base": {
            "perplexity": base.value,
            "perplexity_error": base.error,
            **both,
            **OF_ORIGINAL,
        },
        "perplexity_ratio": found.ratio.value,
        "divergence": comparison_as_json(found),
    }


RESULT = result()


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
    told = RESULT["perplexity"], RESULT["perplexity_error"]
    assert found.perplexity == told and found.base_perplexity is not None
    assert found.base_perplexity.value == RESULT["base"]["perplexity"]
    divergence = RESULT["divergence"]
    assert found.kl == tuple(divergence["kl"]["mean"].values())
    assert found.same_top == tuple(divergence["same_top"].values())
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
        (("divergence", "n_scored"), 1),
        (("divergence", "correlation"), 10**400),
        (("divergence", "kl", "percentiles"), {"all": 1}),
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


CHECKED = [
    *(("perplexity",), ("perplexity_error",), ("perplexity_ratio",)),
    *(("base", "perplexity"), ("base", "perplexity_error")),
    *(
        ("divergence", name, part)
        for name in ("perplexity", "base_perplexity", "ln_ratio", "ratio", "same_top")
        for part in ("value", "error")
    ),
    ("divergence", "difference", "value"),
    ("divergence", "kl", "mean", "value"),
]
"""The figures of the card, and those that they follow from."""


@pytest.mark.parametrize("factor", [0.3, 0.9, 1.1, 3, -1])
@pytest.mark.parametrize("keys", CHECKED, ids=lambda keys: ".".join(keys))
def test_a_figure_that_was_changed_is_told(keys: tuple[str, ...], factor: float) -> None:
    """By the name of it, or of one that it contradicts."""
    place: Any = RESULT
    for key in keys:
        place = place[key]
    if "kl" in keys and factor in (0.9, 1.1):
        return  # the percentiles leave room for these
    with pytest.raises(UsageError, match=r"m\.json: its figures contradict each oth") as refused:
        read_measurement(changed(*keys, to=place * factor), "m.json")
    assert refused.value.hint


@pytest.mark.parametrize("value", [0, 12000])
def test_a_number_of_tokens_that_cannot_be(value: int) -> None:
    with pytest.raises(UsageError, match="n_scored is"):
        read_measurement(changed("n_scored", to=value), "m.json")


@given(
    st.integers(0, 2**32),
    st.integers(100, 400),
    st.floats(0.001, 3),
    st.floats(0, 3),
    st.sampled_from([np.float32, np.float64]),
)
def test_results_do_not_contradict_themselves(
    seed: int, n_scored: int, scale: float, noise: float, dtype: type[Any]
) -> None:
    """Of equal models too, of losses that are all alike, and of ones with rare large values."""
    random = np.random.default_rng(seed)
    base = random.gamma(scale, 2, (2, n_scored)).astype(dtype)
    losses = np.abs(base + noise * random.normal(0, 1, base.shape)).astype(dtype)
    kl = noise * random.pareto(1.5, base.shape)
    found = compare_scores(PairedScores(losses, base, kl, kl <= noise))
    told = {
        "perplexity": found.perplexity.value,
        "perplexity_error": found.perplexity.error,
        "n_scored": 2 * n_scored,
        "n_chunks": 2,
        "n_ctx": n_scored,
        "perplexity_ratio": found.ratio.value,
        "divergence": comparison_as_json(found),
    }
    check_consistent(told)


def test_figures_of_the_original_along_the_path_are_those_of_the_file() -> None:
    result = deepcopy(RESULT)
    result["model"], result["layer_path"] = OF_ORIGINAL, str(PATH)
    check(json.dumps(result).encode())
    result["base"]["data_fingerprint"] = OTHER
    with pytest.raises(RefusedError, match="another base"):
        check(json.dumps(result).encode())
    result["layer_path"] = "0..4"
    with pytest.raises(RefusedError, match="another model or layer path"):
        check(json.dumps(result).encode())


@pytest.mark.parametrize(
    ("key", "value"), [("header_sha256", OTHER), ("data_fingerprint", OTHER), ("n_bytes", 1501)]
)
def test_figures_of_another_model_are_refused(key: str, value: Any) -> None:
    with pytest.raises(RefusedError, match="another model"):
        check(changed("model", key, to=value))


def test_figures_against_another_base_are_refused() -> None:
    others = {"header_sha256": (OTHER, None), "layer_path": ("0..3",), "n_bytes": (999,)}
    for place, values in others.items():
        for value in values:
            with pytest.raises(RefusedError, match="another base"):
                check(changed("base", place, to=value))


def test_figures_of_a_file_of_several_models() -> None:
    models = [OtherSource(7, OTHER), ORIGINAL]
    found = read_measurement(json.dumps(RESULT).encode(), "m.json")
    check_belongs_to_several(found, "m.json", PATCHED, models)
    with pytest.raises(RefusedError, match="a base that is no model"):
        check_belongs_to_several(found, "m.json", PATCHED, models[:1])
    other = read_measurement(changed("model", "data_fingerprint", to=OTHER), "m.json")
    with pytest.raises(RefusedError, match="another model"):
        check_belongs_to_several(other, "m.json", PATCHED, models)
