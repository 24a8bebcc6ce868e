"""Measured figures of a patched model, from the JSON that `ggufsurgeon perplexity` prints.

Whose figures they are is told by the sizes of files, and the digests of their headers and of a
sample of their data, that the JSON has: those of the patched file, or those of its original along
the same layer path, which computes the same to the bit. Of its original, a patched file knows the
size and the header alone: two fine-tunes of one model may share these.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.other_sources import OtherSource
from ggufsurgeon.publishing.consistency import Contradiction, check_consistent
from ggufsurgeon.store.fingerprint import ModelFingerprint

TOOL = re.compile(r"ggufsurgeon [0-9A-Za-z][0-9A-Za-z.+]{0,30}")
SHA256 = re.compile(r"[0-9a-f]{64}")
NO_RESULT = (ValueError, KeyError, TypeError, AttributeError, ArithmeticError, RecursionError)
"""What the fields of another content raise."""
AGAIN = "Measure it again: the result must be that of a text, printed as JSON."


class Figure(NamedTuple):
    """A value with its standard error, in the same unit; None where there is one value alone."""

    value: float
    error: float | None


class MeasuredModel(NamedTuple):
    """A model that was run; of the base of logits that were saved, nothing is known."""

    layer_path: str
    """Empty for the model as it is."""
    header_sha256: str | None = None
    data: str | None = None
    """The digest of a sample, as in `ModelFingerprint`."""
    n_bytes: int | None = None


@dataclass(frozen=True)
class Measurement:
    """The perplexity of a model on a text, and its divergence from a base where there is one."""

    tool: str
    text_name: str
    text_n_bytes: int
    text_sha256: str
    n_chunks: int
    n_ctx: int
    n_scored: int
    model: MeasuredModel
    perplexity: Figure
    base: MeasuredModel | None = None
    base_perplexity: Figure | None = None
    kl: Figure | None = None
    """Kullback-Leibler divergence from the base, nats a token."""
    same_top: Figure | None = None
    """Share of tokens with the same most probable token, from 0 to 1."""


def read_measurement(content: bytes, where: str) -> Measurement:
    """The figures in a result; `where` names its file in messages.

    Raises UsageError when it is no such result, or one of an interrupted run.
    """
    try:
        found = json.loads(content)
        measurement = _measurement(found)
        check_consistent(found)
    except Contradiction as error:
        raise UsageError(
            f"{where}: its figures contradict each other: {error}", hint=AGAIN
        ) from None
    except NO_RESULT as error:
        problem = f"{where} is no whole result of ggufsurgeon perplexity as JSON"
        raise UsageError(f"{problem}: {_what_is_wrong(error)}", hint=AGAIN) from None
    if found.get("is_partial"):
        raise UsageError(f"{where}: the measurement was interrupted", hint=AGAIN)
    return measurement


def _what_is_wrong(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"it has no {quoted(str(error.args[0]))}"
    if isinstance(error, (TypeError, AttributeError, ArithmeticError)):
        return "a value in it is of another kind"
    return quoted(str(error))


def _measurement(found: dict[str, Any]) -> Measurement:
    text, base, divergence = found["text"], found.get("base"), found.get("divergence")
    return Measurement(
        tool=_matching(TOOL, found["tool"]),
        text_name=_string(text["name"]),
        text_n_bytes=_count(text["n_bytes"]),
        text_sha256=_matching(SHA256, text["sha256"]),
        n_chunks=_count(found["n_chunks"]),
        n_ctx=_count(found["n_ctx"]),
        n_scored=_count(found["n_scored"]),
        model=_model(found["model"], found),
        perplexity=_perplexity(found),
        base=None if base is None else _model(base, base),
        base_perplexity=None if base is None else _perplexity(base),
        kl=None if divergence is None else _figure(divergence["kl"]["mean"]),
        same_top=None if divergence is None else _figure(divergence["same_top"]),
    )


def _model(identity: dict[str, Any], run: dict[str, Any]) -> MeasuredModel:
    path, header = _string(run.get("layer_path", "")), identity["header_sha256"]
    if header is None:
        return MeasuredModel(path)
    data = _matching(SHA256, identity["data_fingerprint"])
    return MeasuredModel(path, _matching(SHA256, header), data, _count(identity["n_bytes"]))


def _perplexity(found: dict[str, Any]) -> Figure:
    return Figure(_number(found["perplexity"]), _number(found["perplexity_error"]))


def _figure(found: dict[str, Any]) -> Figure:
    error = found["error"]
    return Figure(_number(found["value"]), None if error is None else _number(error))


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ValueError(f"expected a finite number, found {value!r}")
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError(f"expected a number of things, found {value!r}")
    return value


def _string(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, found {value!r}")
    return value


def _matching(form: re.Pattern[str], value: Any) -> str:
    if form.fullmatch(_string(value)) is None:
        raise ValueError(f"unexpected string {value!r}")
    return value  # type: ignore[no-any-return]


def check_belongs(
    measurement: Measurement,
    where: str,
    patched: ModelFingerprint,
    original: OtherSource,
    path: LayerPath,
) -> None:
    """Raise RefusedError unless the figures are those of a patched model, against its original.

    `path` is the layer path from the original to the patched file.
    """
    found, base = measurement.model, measurement.base
    is_routed = _is_model(found, original, str(path))
    if not is_routed and not _is_file(found, patched):
        raise RefusedError(
            f"{where} has the figures of another model or layer path",
            hint="Measure the patched file, with its original as the base.",
        )
    is_of_one_file = not is_routed or base is None or base.data == found.data
    if base is not None and not (_is_model(base, original) and is_of_one_file):
        raise RefusedError(
            f"{where} compares with another base than the original of the patched file",
            hint="Measure the patched file again, with its original as the base.",
        )


def check_belongs_to_several(
    measurement: Measurement,
    where: str,
    patched: ModelFingerprint,
    models: Collection[OtherSource],
) -> None:
    """Raise RefusedError unless the figures are those of a file, against none or one of its
    models."""
    if not _is_file(measurement.model, patched):
        raise RefusedError(
            f"{where} has the figures of another model",
            hint="Measure the patched file itself, with one of its models as the base.",
        )
    base = measurement.base
    if base is not None and not any(_is_model(base, model) for model in models):
        raise RefusedError(
            f"{where} compares with a base that is no model of the patched file",
            hint="Measure the patched file again, with one of its models as the base.",
        )


def _is_file(found: MeasuredModel, file: ModelFingerprint) -> bool:
    """Whether a model was this file, as it is."""
    digests = file.header_sha256, file.data_fingerprint
    same = (found.header_sha256, found.data) == digests and found.n_bytes == file.n_bytes
    return same and not found.layer_path


def _is_model(found: MeasuredModel, model: OtherSource, layer_path: str = "") -> bool:
    """Whether a model was one that a record names, along a layer path."""
    same = (found.n_bytes, found.header_sha256) == (model.n_bytes, model.header_sha256)
    return same and found.layer_path == layer_path
