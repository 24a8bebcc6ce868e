"""The build of llama.cpp and the hardware that compute scores, since others round differently."""

from __future__ import annotations

import json
from typing import NamedTuple

from ggufsurgeon.engine.build import cpu_name, engine_build
from ggufsurgeon.engine.devices.registry import gpu_descriptions


class Machine(NamedTuple):
    """Where scores were computed. Figures of two machines may differ in their last digits."""

    engine: str
    """Version of llama-cpp-python, and llama.cpp's build with its CPU features."""
    cpu: str
    """Model of the CPU."""
    gpus: str
    """JSON list of the names of the GPUs that llama.cpp sees, without those of RPC servers."""


def this_machine() -> Machine:
    """The machine that this process runs on. Loads llama.cpp, but no model.

    Raises MissingExtraError when llama-cpp-python is not installed.
    """
    return Machine(engine_build(), cpu_name(), json.dumps(gpu_descriptions()))
