"""The type of arguments that are file paths."""

from __future__ import annotations

import os
from typing import TypeAlias

PathLike: TypeAlias = "str | os.PathLike[str]"
