"""The build of llama.cpp and the hardware that compute scores, since others round differently."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from ggufsurgeon.engine.devices.registry import gpu_descriptions
from ggufsurgeon.engine.installation.build import cpu_name, engine_build, engine_version

if TYPE_CHECKING:  # what reads a store alone runs no job
    from ggufsurgeon.workers.runner import Runner
    from ggufsurgeon.workers.session import Reporter, Session


class Machine(NamedTuple):
    """Where scores were computed. Figures of two machines may differ in their last digits."""

    engine: str
    """Version of llama-cpp-python, and llama.cpp's build with its CPU features."""
    cpu: str
    """Model of the CPU."""
    gpus: str
    """JSON list of the names of the GPUs that llama.cpp sees, without those of RPC servers."""


def this_machine(runner: Runner) -> Machine:
    """The machine that a runner runs on. Loads llama.cpp there, but no model.

    Raises MissingExtraError when llama-cpp-python is not installed or does not load, EngineError
    when it cannot run on this CPU.
    """
    return runner.run(machine_job)


def machine_job(_session: Session, _reporter: Reporter) -> Machine:
    """`this_machine` as a job."""
    return Machine(engine_build(), cpu_name(), json.dumps(gpu_descriptions()))


def version_job(_session: Session, _reporter: Reporter) -> str:
    """`engine_version` as a job. Raises as `this_machine`."""
    return engine_version()
