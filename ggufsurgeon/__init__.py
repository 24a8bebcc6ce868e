"""Change the depth of a language model in a quantized GGUF, exactly, and prove it.

>>> import ggufsurgeon as gs
>>> model = gs.open("fixtures/stories260K.gguf")
>>> str(model.plan(gs.repeat("1:3")).layer_path)
'0..2,1..4'

Names are imported when they are first used, so that importing the package is cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ggufsurgeon.api.loaded_models.evaluation_models import evaluation_model as evaluation_model
    from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel as LoadedModel
    from ggufsurgeon.api.loaded_models.loaded_model import load as load
    from ggufsurgeon.api.model_files.files import ModelFile as ModelFile
    from ggufsurgeon.api.model_files.files import open_model as open
    from ggufsurgeon.api.model_files.plans import Plan as Plan
    from ggufsurgeon.api.model_files.verifying import verify as verify
    from ggufsurgeon.api.reports.scan_reports import scan_findings as scan_findings
    from ggufsurgeon.engine.devices.options import Devices as Devices
    from ggufsurgeon.engine.sampling import Sampling as Sampling
    from ggufsurgeon.errors import GgufSurgeonError as GgufSurgeonError
    from ggufsurgeon.layer_path.edits import drop as drop
    from ggufsurgeon.layer_path.edits import repeat as repeat
    from ggufsurgeon.layer_path.path import LayerPath as LayerPath
    from ggufsurgeon.leaderboard.chat_settings import ChatSettings as ChatSettings
    from ggufsurgeon.leaderboard.results import LeaderboardResult as LeaderboardResult
    from ggufsurgeon.multiple_choice.task_results import (
        MultipleChoiceResult as MultipleChoiceResult,
    )
    from ggufsurgeon.multiple_choice.task_results import paired_difference as paired_difference
    from ggufsurgeon.scoring.chunks import TextSettings as TextSettings
    from ggufsurgeon.scoring.results import PathResult as PathResult
    from ggufsurgeon.scoring.task import LogitsFileReference as LogitsFileReference
    from ggufsurgeon.scoring.task import ModelReference as ModelReference
    from ggufsurgeon.scoring.task import PathReference as PathReference
    from ggufsurgeon.statistics.divergence import Comparison as Comparison
    from ggufsurgeon.statistics.estimate import Estimate as Estimate
    from ggufsurgeon.statistics.perplexity import Perplexity as Perplexity
    from ggufsurgeon.verification.verifier import Verification as Verification

_HOMES = {
    "ChatSettings": "leaderboard.chat_settings",
    "Comparison": "statistics.divergence",
    "Devices": "engine.devices.options",
    "Estimate": "statistics.estimate",
    "GgufSurgeonError": "errors",
    "LayerPath": "layer_path.path",
    "LeaderboardResult": "leaderboard.results",
    "LoadedModel": "api.loaded_models.loaded_model",
    "LogitsFileReference": "scoring.task",
    "ModelFile": "api.model_files.files",
    "ModelReference": "scoring.task",
    "MultipleChoiceResult": "multiple_choice.task_results",
    "PathReference": "scoring.task",
    "PathResult": "scoring.results",
    "Perplexity": "statistics.perplexity",
    "Plan": "api.model_files.plans",
    "Sampling": "engine.sampling",
    "TextSettings": "scoring.chunks",
    "Verification": "verification.verifier",
    "drop": "layer_path.edits",
    "evaluation_model": "api.loaded_models.evaluation_models",
    "load": "api.loaded_models.loaded_model",
    "open": "api.model_files.files",
    "paired_difference": "multiple_choice.task_results",
    "repeat": "layer_path.edits",
    "scan_findings": "api.reports.scan_reports",
    "verify": "api.model_files.verifying",
}
"""The module of each public name."""
_OTHER_NAMES = {"open": "open_model"}

__all__ = [
    "ChatSettings",
    "Comparison",
    "Devices",
    "Estimate",
    "GgufSurgeonError",
    "LayerPath",
    "LeaderboardResult",
    "LoadedModel",
    "LogitsFileReference",
    "ModelFile",
    "ModelReference",
    "MultipleChoiceResult",
    "PathReference",
    "PathResult",
    "Perplexity",
    "Plan",
    "Sampling",
    "TextSettings",
    "Verification",
    "drop",
    "evaluation_model",
    "load",
    "open",
    "paired_difference",
    "repeat",
    "scan_findings",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = import_module(f"{__name__}.{_HOMES[name]}")
    return getattr(module, _OTHER_NAMES.get(name, name))
