"""Names of the llama.cpp build and the CPU, since figures of others round differently."""

from __future__ import annotations

import platform
import re
from importlib.metadata import version
from pathlib import Path

from ggufsurgeon.engine.library import llama_cpp


def engine_build() -> str:
    """The version of llama-cpp-python, and the CPU features that its llama.cpp was built with."""
    features = llama_cpp().llama_print_system_info().decode("utf-8", "replace")
    return f"llama-cpp-python {version('llama-cpp-python')}: {features.strip(' |')}"


def cpu_name() -> str:
    """The model of the CPU on Linux; elsewhere its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
