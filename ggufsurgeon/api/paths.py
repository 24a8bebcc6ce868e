"""What is taken where a file is named."""

from __future__ import annotations

import os
from typing import TypeAlias

PathLike: TypeAlias = "str | os.PathLike[str]"
