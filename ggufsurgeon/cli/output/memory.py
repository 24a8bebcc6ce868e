"""The memory that `plan` predicts: its options, tables and JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.serializers import loads_as_json
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_table, print_text
from ggufsurgeon.cli.shared_options.device_options import split_shares
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.container.headers.header import Header
    from ggufsurgeon.rules.tensor_overrides import TensorOverride
    from ggufsurgeon.sizing.prediction import DeviceLoad, DeviceSettings, Prediction

DEFAULT_CTX = 4096
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "T": 10**12}
UNITS |= {"KI": 1 << 10, "MI": 1 << 20, "GI": 1 << 30, "TI": 1 << 40}
FITS = {True: "yes", False: "no", None: "not known"}


def device_settings(
    header: Header,
    ctx: int | None,
    tensor_split: str | None,
    n_gpu_layers: int | None,
    memory: str | None,
    overrides: tuple[TensorOverride, ...],
) -> DeviceSettings:
    """The devices that the options of `plan` describe; one GPU by default."""
    from ggufsurgeon.sizing.prediction import DeviceSettings

    sizes = tuple(_n_bytes(size) for size in memory.split(",")) if memory is not None else ()
    shares = split_shares(tensor_split) or tuple(map(float, sizes)) or (1.0,)
    if sizes and len(sizes) != len(shares):
        raise UsageError(
            f"--memory lists {_counted(len(sizes), 'size')}, "
            f"--tensor-split {_counted(len(shares), 'share')}: expected one for each GPU"
        )
    longest = header.get(f"{header.architecture}.context_length")
    n_ctx = min(DEFAULT_CTX, longest) if isinstance(longest, int) and longest else DEFAULT_CTX
    n_layers = -1 if n_gpu_layers is None else n_gpu_layers
    return DeviceSettings(shares, n_layers, ctx or n_ctx, sizes, overrides)


def _counted(n: int, thing: str) -> str:
    return f"{n} {thing}{'' if n == 1 else 's'}"


def _n_bytes(size: str) -> int:
    match = re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?)([KMGT]?I?)B?", size.strip().upper())
    n_bytes = int(float(match[1]) * UNITS[match[2]]) if match and match[2] in UNITS else 0
    if n_bytes < 1 << 20:
        raise UsageError(
            f"--memory {size!r}: expected the size of each device, with its unit, such as 24GB,24GB"
        )
    return n_bytes


def prediction_as_json(prediction: Prediction) -> dict[str, Any]:
    """A prediction as JSON."""
    return {
        "n_ctx": prediction.settings.n_ctx,
        "n_bytes_margin": prediction.n_bytes_margin,
        "before": loads_as_json(prediction.before),
        "after": loads_as_json(prediction.after),
        "suggested_tensor_split": prediction.suggested_split,
    }


def print_prediction(prediction: Prediction, *notes: str) -> None:
    """A prediction as tables of 80 columns, what they leave out, and other notes."""
    settings, after = prediction.settings, prediction.after
    n_ctx = settings.n_ctx
    print_table(
        f"Memory, predicted from the header, with a context of {n_ctx} tokens",
        ["device", "blocks", "weights", "cache", "total", "before"],
        [_row(*loads) for loads in zip(after, prediction.before, strict=True)],
    )
    print_table(
        "Cache: KV by type and tokens, and recurrent state",
        ["device", *(f"{t}, {n}" for n in (n_ctx, 1024) for t in after[0].n_bytes_kv), "state"],
        [_cache_row(load) for load in after],
    )
    if settings.memory:
        columns = ["device", "total", "memory", "fits"]
        print_table("Does it fit?", columns, [_fit_row(load) for load in after])
    for note in (*_notes(prediction), *notes):
        print_text(f"note: {note}")
    print_text("")


def _row(after: DeviceLoad, before: DeviceLoad) -> tuple[str, ...]:
    kv, state = after.n_bytes_kv["f16"], after.n_bytes_state
    cache = None if kv is None or state is None else kv + state
    return (
        after.device,
        layers_text(after.blocks, after.has_output),
        n_bytes_text(after.n_bytes_weights),
        _text(cache),
        _text(after.n_bytes),
        _text(before.n_bytes),
    )


def _cache_row(load: DeviceLoad) -> tuple[str, ...]:
    by_type = (*load.n_bytes_kv.values(), *load.n_bytes_kv_1k.values())
    return load.device, *map(_text, by_type), _text(load.n_bytes_state)


def _fit_row(load: DeviceLoad) -> tuple[str, ...]:
    if load.n_bytes_memory is None:
        return load.device, _text(load.n_bytes), "-", "-"
    return load.device, _text(load.n_bytes), n_bytes_text(load.n_bytes_memory), FITS[load.fits]


def _text(n_bytes: int | None) -> str:
    return "not known" if n_bytes is None else n_bytes_text(n_bytes)


def _notes(prediction: Prediction) -> list[str]:
    notes = ["compute buffers are extra and are not included"]
    if prediction.settings.memory:
        notes[0] += (
            f"; `fits` leaves {n_bytes_text(prediction.n_bytes_margin)} of each device for them"
        )
    notes += _mapped_notes(prediction.after[0])
    if prediction.after[0].n_bytes is None:
        notes.append("what this architecture caches is not known to this version")
    if prediction.has_windows:
        notes.append(
            "of a sliding window, only it is counted; generate, chat, serve and choose cache "
            "every token"
        )
    if prediction.suggested_split is not None:
        notes.append(split_advice(prediction.suggested_split))
    return notes


def _mapped_notes(cpu: DeviceLoad) -> list[str]:
    """The two ways to count weights on the CPU, where they differ by more than a hundredth."""
    if cpu.n_bytes_mapped <= 1.01 * cpu.n_bytes_weights:
        return []
    return [
        f"llama.cpp maps the file on the CPU as one piece, from the first of these weights to the "
        f"last: it reports {n_bytes_text(cpu.n_bytes_mapped)} where the table counts "
        f"{n_bytes_text(cpu.n_bytes_weights)}"
    ]


def split_advice(split: Sequence[int]) -> str:
    """One line of advice on the tensor split."""
    shares = ",".join(map(str, split))
    return (
        f"--tensor-split {shares} balances the bytes of the GPUs; llama.cpp itself counts blocks, "
        "so repeats and a large output matrix move the boundary"
    )


def layers_text(blocks: Sequence[int], has_output: bool) -> str:
    """`0..16, output`."""
    named = [str(LayerPath.of(blocks))] if blocks else []
    return ", ".join([*named, *["output"] * has_output]) or "-"
