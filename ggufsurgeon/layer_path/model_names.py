"""Names that recipes give to new models: what can be printed, typed and kept in one line."""

from __future__ import annotations

import re

MODEL_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9 ._+-]{0,78}[A-Za-z0-9._+-])?")
EXPECTED_NAME = "up to 80 letters and digits, with spaces and any of . _ + - between them"
