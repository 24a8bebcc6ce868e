"""The public API: files by their headers, models that stay loaded, and the verbs over them.

Every function raises a `ggufsurgeon.errors.GgufSurgeonError` for what the user can mend.
"""

from ggufsurgeon.api.files import (
    Inspection,
    ModelFile,
    Plan,
    inspect,
    open_model,
    patch,
    plan,
)
from ggufsurgeon.api.loaded_model import LoadedModel, load
from ggufsurgeon.api.measuring import choose, divergence, generate, perplexity, verify
from ggufsurgeon.api.pictures import check_picture, draw_losses

__all__ = [
    "Inspection",
    "LoadedModel",
    "ModelFile",
    "Plan",
    "check_picture",
    "choose",
    "divergence",
    "draw_losses",
    "generate",
    "inspect",
    "load",
    "open_model",
    "patch",
    "perplexity",
    "plan",
    "verify",
]
