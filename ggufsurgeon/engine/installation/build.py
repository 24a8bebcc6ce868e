"""Names of the llama.cpp build and the CPU, since figures of others round differently."""

from __future__ import annotations

import ctypes
import platform
import re
from pathlib import Path

from ggufsurgeon.engine.installation.library import ggml, llama_cpp


def engine_build() -> str:
    """The versions of llama-cpp-python and ggml, and the CPU features that they were built for."""
    features = llama_cpp().llama_print_system_info().decode("utf-8", "replace")
    return f"{engine_version()}: {features.strip(' |')}"


def engine_version() -> str:
    """The versions of llama-cpp-python and of the llama.cpp in it, which are ggml's.

    libllama exports no version of its own (include/llama.h). Raises MissingExtraError without
    llama-cpp-python.
    """
    from importlib.metadata import version  # takes 0.02 s to import

    llama_cpp()
    ggml_version, commit = (_text(name) for name in ("ggml_version", "ggml_commit"))
    return f"llama-cpp-python {version('llama-cpp-python')}, ggml {ggml_version} ({commit})"


def _text(function: str) -> str:
    """What a function of ggml without arguments says; `unknown` where it is not exported."""
    native = getattr(ggml(), function, None)
    if native is None:
        return "unknown"
    native.restype = ctypes.c_char_p
    return str(native().decode("utf-8", "replace"))


def cpu_name() -> str:
    """The model of the CPU on Linux; elsewhere its architecture."""
    try:
        found = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    except OSError:
        found = None
    return found[1] if found else platform.processor() or platform.machine()
