"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Optional, TypeAlias

import typer

from ggufsurgeon.cli.terminal import print_warning
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.notations import parse_window
from ggufsurgeon.layer_path.request import PathRequest

if TYPE_CHECKING:
    from ggufsurgeon.engine.model import DeviceOptions

Source: TypeAlias = Annotated[
    Path,
    # Whether it can be read is for the reader to say, in its own words.
    typer.Argument(help="The GGUF to read.", show_default=False, readable=False),
]
Json: TypeAlias = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]

Windows: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--window",
        metavar="I:J",
        help="Run blocks I to J-1 again. Repeatable: each window goes behind the last place "
        "where block J-1 runs so far.",
    ),
]
Times: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--times", metavar="K", help="Run each window K times in all (2)."),
]
Drops: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option("--drop", metavar="I:J", help="Leave blocks I to J-1 out. Repeatable."),
]
Layers: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--layers", metavar="PATH", help='The whole path: "0..6,4..29", inclusive.'),
]
ScaleWeights: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--scale-weights",
        help="Where nothing else makes the path possible, multiply weights by a factor: the same "
        "within rounding, not to the bit, and the original cannot be had back.",
    ),
]
GpuLayers: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--n-gpu-layers", metavar="N", min=-1, help="Blocks to keep on GPUs; -1: all."),
]
TensorSplit: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--tensor-split", metavar="A,B", help="Shares of the GPUs, such as 1,1."),
]
Threads: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option("--threads", metavar="N", min=1, max=512, help="CPU threads."),
]

Rpc: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045
    typer.Option("--rpc", metavar="HOST:PORT,...", help="llama.cpp RPC servers to run on too."),
]


def path_request(
    windows: list[str] | None, times: int | None, drops: list[str] | None, layers: str | None
) -> PathRequest:
    """The layer path that the options ask for."""
    return PathRequest(
        windows=tuple(parse_window(text) for text in windows or ()),
        times=times,
        drops=tuple(parse_window(text) for text in drops or ()),
        layers=layers,
    )


def optional_path_request(
    windows: list[str] | None, times: int | None, drops: list[str] | None, layers: str | None
) -> PathRequest | None:
    """The layer path that the options ask for; None when there are none of them."""
    if not windows and not drops and times is None and layers is None:
        return None
    return path_request(windows, times, drops, layers)


def device_options(
    n_gpu_layers: int | None, tensor_split: str | None, n_threads: int | None, rpc: str | None
) -> DeviceOptions:
    """Where the options ask a model to run."""
    from ggufsurgeon.engine.model import DeviceOptions

    hosts = tuple(host.strip() for host in rpc.split(",")) if rpc is not None else ()
    return DeviceOptions(n_gpu_layers, split_shares(tensor_split), n_threads, hosts)


def split_shares(tensor_split: str | None) -> tuple[float, ...]:
    """The shares of --tensor-split; none where it is not given."""
    if tensor_split is None:
        return ()
    try:
        shares = tuple(float(share) for share in tensor_split.split(","))
    except ValueError:
        shares = ()
    # 0, or what 32-bit floats hold and can add up
    if not any(shares) or not all(share == 0 or 1e-9 < share < 1e30 for share in shares):
        raise UsageError(f"--tensor-split {tensor_split!r}: expected shares, for instance 3,1")
    return shares


def check_context(file: GgufFile, n_ctx: int, option: str = "--ctx") -> None:
    """Warn of contexts longer than the model's, and refuse them where positions are learned."""
    header = file.header
    longest = header.get(f"{header.architecture}.context_length")
    if not isinstance(longest, int) or n_ctx <= longest:
        return
    problem = f"{file.path} was made for contexts of {longest} tokens, {option} is {n_ctx}"
    if any(tensor.name == "position_embd.weight" for tensor in header.tensors):
        raise UsageError(f"{problem}; it has no positions beyond")
    print_warning(problem)
