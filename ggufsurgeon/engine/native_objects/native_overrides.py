"""llama.cpp's list of tensor overrides, with the buffer types that they name."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

from ggufsurgeon.engine.devices.registry import Device, buffer_type_of
from ggufsurgeon.errors import UsageError
from ggufsurgeon.rules.tensor_overrides import TensorOverride, check_patterns


class NativeOverride(ctypes.Structure):
    """`struct llama_model_tensor_buft_override` (include/llama.h)."""

    _fields_ = (("pattern", ctypes.c_char_p), ("type", ctypes.c_void_p))


def override_list(overrides: Sequence[TensorOverride], devices: Sequence[Device]) -> Any:
    """The native list, whose end is marked; it must outlive the load.

    `devices` are those of the model, the CPU among them: in the memory of another, llama.cpp could
    not compute. Raises UsageError for a buffer that is none of theirs, and for what is no regular
    expression.
    """
    check_patterns(overrides)
    found = [
        NativeOverride(each.pattern.encode(), buffer_type_of(_device_of(each, devices)))
        for each in overrides
    ]
    return (NativeOverride * (len(found) + 1))(*found)


def _device_of(override: TensorOverride, devices: Sequence[Device]) -> Device:
    for device in devices:
        if override.buffer in (device.buffer, device.name):
            return device
    there = ", ".join(dict.fromkeys(device.buffer for device in devices))
    raise UsageError(
        f"the tensor override {override.pattern}={override.buffer} names a buffer that is not "
        f"there: llama.cpp has {there}"
    )
