"""Options of where a model runs, and what is said of that before it is loaded."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import wraps
from inspect import Parameter, Signature, signature
from types import SimpleNamespace
from typing import TYPE_CHECKING, Annotated, Any, Optional, TypeAlias, get_type_hints

import typer

import ggufsurgeon as gs
from ggufsurgeon.cli.output.terminal import n_bytes_text, print_note, print_warning
from ggufsurgeon.cli.shared_options.options import (
    DEVICES,
    GpuLayers,
    Rpc,
    TensorSplit,
    Threads,
)
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel
    from ggufsurgeon.container.gguf_file import GgufFile
    from ggufsurgeon.engine.devices.offload import Offload
    from ggufsurgeon.engine.devices.options import Devices
    from ggufsurgeon.rules.tensor_overrides import TensorOverride

NO_DEVICE = "none"

DeviceNames: TypeAlias = Annotated[
    Optional[str],  # noqa: UP045 - typer reads it at run time, on Python 3.10 too
    typer.Option(
        "--device",
        "-dev",
        metavar="NAME,...",
        help="Names of the GPUs to use, in the order of their shares (none: the CPU alone).",
        show_default="all",
        rich_help_panel=DEVICES,
    ),
]
OverrideTensors: TypeAlias = Annotated[
    Optional[list[str]],  # noqa: UP045
    typer.Option(
        "--override-tensor",
        "-ot",
        metavar="REGEX=BUFFER,...",
        help="Tensors whose names match go to a buffer, such as CPU or CUDA0. May be given several "
        "times: the first match decides.",
        rich_help_panel=DEVICES,
    ),
]
CpuMoeBlocks: TypeAlias = Annotated[
    Optional[int],  # noqa: UP045
    typer.Option(
        "--n-cpu-moe",
        "-ncmoe",
        metavar="N",
        min=0,
        help="Number of blocks, from the first, whose experts stay on the CPU.",
        rich_help_panel=DEVICES,
    ),
]
CpuMoe: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--cpu-moe", "-cmoe", help="Keep all experts on the CPU.", rich_help_panel=DEVICES
    ),
]
AllowCpu: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--allow-cpu",
        help="Run on what is there when GPUs that the options name are missing.",
        rich_help_panel=DEVICES,
    ),
]


def with_device_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with the options of `device_options`, which `command` takes as one, `devices`."""
    options = _parameters(device_options)

    @wraps(command)
    def with_options(**arguments: Any) -> None:
        given = {name: arguments.pop(name) for name in options}
        command(**arguments, devices=device_options(**given))

    own = _parameters(command)
    before = list(own)[: list(own).index("devices")]
    of_all = {name: own[name] for name in before} | options
    of_all |= {name: own[name] for name in own if name != "devices"}
    with_options.__signature__ = Signature(list(of_all.values()))  # type: ignore[attr-defined]
    with_options.__annotations__ = {name: each.annotation for name, each in of_all.items()}
    return with_options


def _parameters(function: Any) -> dict[str, Parameter]:
    """The parameters of a function, as typer reads them; what is a `Devices` is no option."""
    named = {name: hint for name, hint in function.__annotations__.items() if hint != "Devices"}
    hints = get_type_hints(
        SimpleNamespace(__annotations__=named), function.__globals__, include_extras=True
    )
    return {
        name: each.replace(annotation=hints.get(name), kind=Parameter.KEYWORD_ONLY)
        for name, each in signature(function).parameters.items()
    }


def device_options(
    n_gpu_layers: GpuLayers = None,
    tensor_split: TensorSplit = None,
    threads: Threads = None,
    rpc: Rpc = None,
    device: DeviceNames = None,
    n_cpu_moe: CpuMoeBlocks = None,
    cpu_moe: CpuMoe = False,
    override_tensor: OverrideTensors = None,
    allow_cpu: AllowCpu = False,
) -> Devices:
    """Where the options ask a model to run."""
    from ggufsurgeon.engine.devices.options import Devices

    return Devices(
        n_gpu_layers,
        split_shares(tensor_split),
        threads,
        rpc=() if rpc is None else _listed(rpc),
        names=None if device is None else _device_names(device),
        override_tensors=override_pairs(override_tensor),
        n_cpu_moe=cpu_moe_blocks(n_cpu_moe, cpu_moe),
        allow_cpu=allow_cpu,
    )


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


def _listed(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _device_names(text: str) -> tuple[str, ...]:
    names = _listed(text)
    if not all(names):
        raise UsageError(f"--device {text!r}: expected names, such as CUDA0,CUDA1, or {NO_DEVICE}")
    return () if names == (NO_DEVICE,) else names


def cpu_moe_blocks(n_cpu_moe: int | None, cpu_moe: bool) -> int:
    """Blocks whose experts stay on the CPU; -1 for all."""
    return -1 if cpu_moe else n_cpu_moe or 0


def override_pairs(texts: list[str] | None) -> tuple[tuple[str, str], ...]:
    """The expressions and buffers of --override-tensor, parted as llama.cpp parts them."""
    found = []
    for text in texts or ():
        for part in text.split(","):
            pattern, _, buffer = part.partition("=")
            if not pattern or not buffer:
                raise UsageError(
                    f"--override-tensor {text!r}: expected REGEX=BUFFER, for instance exps=CPU",
                    hint="A comma ends an override, as in llama.cpp: an expression has none.",
                )
            found.append((pattern, buffer))
    return tuple(found)


def tell_devices(loaded: LoadedModel, devices: Devices) -> None:
    """Say where the model goes, if options ask for a place, before it is loaded.

    Raises UsageError for devices that are missing.
    """
    from ggufsurgeon.engine.devices.options import Devices

    if devices == Devices(n_threads=devices.n_threads):
        return
    try:
        offload = loaded.offload()
    except UsageError as error:
        error.hint = error.hint.replace("allow_cpu", "--allow-cpu")  # as it is called here
        raise
    if offload.lacking:
        print_warning(f"{offload.lacking}: the model runs on what is there")
    if devices.n_gpu_layers != 0 and (offload.gpus or devices.names is not None):
        print_note(_gpus_text(offload))
    if devices.overrides:
        tell_overrides(gs.open(loaded.path).file, devices.overrides)


def _gpus_text(offload: Offload) -> str:
    """The GPUs in the order of their shares."""
    if not offload.gpus:
        return "GPUs: none, the model runs on the CPU"
    if offload.shares:
        shares = [f"{share:g}" for share in offload.shares]
        shares += ["0"] * (len(offload.gpus) - len(shares))
    else:
        shares = [f"{n_bytes_text(gpu.n_bytes_free)} free" for gpu in offload.gpus]
    named = zip(offload.gpus, shares, strict=True)
    parts = [f"{gpu.name} ({gpu.description}) {share}" for gpu, share in named]
    rule = "shares" if offload.shares else "shares by free memory"
    return f"GPUs and their {rule}: {', '.join(parts)}"


def tell_overrides(file: GgufFile, overrides: Sequence[TensorOverride]) -> None:
    """Say how much of a file tensor overrides move; warn of those that move nothing."""
    from ggufsurgeon.rules.tensor_overrides import (
        EXPERTS,
        n_bytes_of_overrides,
        overrides_of_nothing,
    )

    sizes: dict[str, list[int]] = defaultdict(list)
    for override, found in n_bytes_of_overrides(file, overrides).items():
        sizes[override.buffer] += found
    for override in overrides_of_nothing(file, overrides):
        named = override.pattern.endswith(EXPERTS) and "experts on the CPU"
        named = named or f"--override-tensor {override.pattern}={override.buffer}"
        print_warning(f"{file.path} has no tensors for {named}")
    for buffer, found in sizes.items():
        if found:
            what = f"{len(found)} tensors ({n_bytes_text(sum(found))})"
            print_note(f"tensor overrides put {what} on {buffer}")
