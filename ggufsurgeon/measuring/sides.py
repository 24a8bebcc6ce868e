"""One model against another, each in a child process of its own, one after the other."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from ggufsurgeon.llama.child import run_in_child
from ggufsurgeon.llama.model import DeviceOptions
from ggufsurgeon.measuring.against import Measured, Task, measure_against
from ggufsurgeon.measuring.scoring import PerplexitySettings
from ggufsurgeon.progress import Progress


@dataclass(frozen=True)
class Sides:
    """A model, a text, how to run both sides over it, and a base that is a model."""

    model: Path
    text: bytes
    settings: PerplexitySettings
    options: DeviceOptions
    base: Path | None = None


def measure_sides(sides: Sides, task: Task, progress: Progress) -> Measured:
    """Run the base, if it is a model, then the model as `task` says.

    What the base says goes to a temporary file (in TMPDIR) as 32-bit floats, four bytes a logit:
    nothing of it is clamped or rounded, unlike in a base file.
    """
    if sides.base is None:
        return _run(sides.model, sides, task, progress)
    with tempfile.TemporaryDirectory(prefix="ggufsurgeon-") as folder:
        logits = Path(folder) / "logits"
        keeping = Task(save_to=logits, save_exact=True)
        base = _run(sides.base, sides, keeping, progress)
        task = replace(task, base_file=logits, base_name=str(sides.base))
        return replace(_run(sides.model, sides, task, progress), base=base.perplexity)


def _run(model: Path, sides: Sides, task: Task, progress: Progress) -> Measured:
    return run_in_child(
        measure_against,
        model,
        sides.text,
        sides.settings,
        sides.options,
        task,
        model=model,
        progress=progress,
    )
