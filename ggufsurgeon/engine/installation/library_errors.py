"""The errors for a llama-cpp-python that is not installed, or whose library does not load."""

from __future__ import annotations

import os
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from ggufsurgeon.errors import MissingExtraError

INSTALL = "pip install 'ggufsurgeon[llama]'"
REINSTALL = "pip install --force-reinstall --no-cache-dir llama-cpp-python"
REBUILD = (
    "pip install --force-reinstall --no-cache-dir --no-binary llama-cpp-python llama-cpp-python"
)
FOLDER_VARIABLE = "LLAMA_CPP_LIB_PATH"
"""The folder that llama-cpp-python loads its libraries from, where it is set."""
FOREIGN = (
    (
        r"libgomp\.so",
        "OpenMP is missing: apt-get install libgomp1 (Debian, Ubuntu), "
        "dnf install libgomp (Fedora).",
    ),
    (
        r"libvulkan\.so",
        "Vulkan's loader is missing: apt-get install libvulkan1 (Debian, Ubuntu), "
        "dnf install vulkan-loader (Fedora).",
    ),
    (
        r"libcuda\.so",
        "The NVIDIA driver is missing: install it, or start the container with its GPUs. "
        f"For CPUs alone: {REBUILD}",
    ),
    (
        r"lib(cudart|cublas|cublasLt|nccl|amdhip64|hipblas|rocblas)\.so",
        "This build needs that version of the CUDA or ROCm libraries: install it, or rebuild "
        f"llama-cpp-python for the version on this machine: {REBUILD}",
    ),
    (r"libc\.musl", f"This wheel was built for Alpine Linux (musl). Build it here: {REBUILD}"),
    (
        r"(GLIBC|GLIBCXX)_[\d.]+'? not found",
        f"This wheel was built on a newer Linux. Build it here: {REBUILD}",
    ),
    (
        r"undefined symbol",
        f"The library is of another version than llama-cpp-python. Install both again: {REINSTALL}",
    ),
)
"""Patterns in the reason of the dynamic linker, and what helps."""


def import_error(error: Exception) -> MissingExtraError:
    """The error for what importing llama_cpp raised.

    Where the package is there, its library is to blame: it, or what it is linked with, is missing,
    damaged or made for another system.
    """
    if isinstance(error, ImportError):
        return MissingExtraError(
            f"running a model needs llama-cpp-python, which cannot be imported ({error})",
            hint=INSTALL,
        )
    reason = _reason(error)
    return MissingExtraError(
        f"{_installed()} is installed, but its library cannot be loaded: {reason}",
        hint=_hint(reason),
    )


def _reason(error: Exception) -> str:
    """The reason of the dynamic linker, which names the library that is missing or damaged."""
    if isinstance(error, FileNotFoundError):
        return f"there is no {_library_name()} in {_folder()}"
    return re.sub(r"^Failed to load shared library '.*?': ", "", str(error))


def _hint(reason: str) -> str:
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is not None:
        return (
            f"{FOLDER_VARIABLE} is set to {folder}: unset it to use the libraries that "
            f"llama-cpp-python came with, or install them again: {REINSTALL}"
        )
    helps = (hint for pattern, hint in FOREIGN if re.search(pattern, reason))
    return next(helps, f"Install it again: {REINSTALL}")


def _installed() -> str:
    from importlib.metadata import PackageNotFoundError, version  # takes 0.02 s to import

    try:
        return f"llama-cpp-python {version('llama-cpp-python')}"
    except PackageNotFoundError:
        return "llama-cpp-python"


def _folder() -> str:
    """Where llama-cpp-python looks for its library."""
    spec = find_spec("llama_cpp")
    package = next(iter(spec.submodule_search_locations or []), "") if spec else ""
    return os.environ.get(FOLDER_VARIABLE) or str(Path(package, "lib"))


def _library_name() -> str:
    return {"darwin": "libllama.dylib", "win32": "llama.dll"}.get(sys.platform, "libllama.so")
