"""What to do about a library that does not load, by the reason of the dynamic linker."""

from __future__ import annotations

import pytest

from ggufsurgeon.engine.installation.library_errors import FOLDER_VARIABLE, import_error

ABSENT = "cannot open shared object file: No such file or directory"


def failed(reason: str) -> RuntimeError:
    """As llama-cpp-python puts it."""
    return RuntimeError(
        f"Failed to load shared library '/site/llama_cpp/lib/libllama.so': {reason}"
    )


@pytest.mark.parametrize(
    ("reason", "helps"),
    [
        (f"libggml-base.so.0: {ABSENT}", "Install it again: pip install --force-reinstall"),
        ("/site/llama_cpp/lib/libllama.so: file too short", "Install it again: pip install"),
        (f"libgomp.so.1: {ABSENT}", "apt-get install libgomp1"),
        (f"libcuda.so.1: {ABSENT}", "NVIDIA driver"),
        (f"libcudart.so.12: {ABSENT}", "CUDA or ROCm libraries"),
        (f"libvulkan.so.1: {ABSENT}", "apt-get install libvulkan1"),
        (f"libc.musl-x86_64.so.1: {ABSENT}", "--no-binary llama-cpp-python"),
        (
            "/lib/libc.so.6: version `GLIBC_2.38' not found (required by libggml.so)",
            "newer Linux",
        ),
    ],
)
def test_the_library_is_named_and_what_helps(
    reason: str, helps: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    error = import_error(failed(reason))
    assert error.exit_code == 8
    assert str(error).endswith(f"is installed, but its library cannot be loaded: {reason}")
    assert helps in error.hint


def test_a_library_of_another_version(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(FOLDER_VARIABLE, raising=False)
    error = import_error(AttributeError("libllama.so: undefined symbol: llama_model_n_embd_out"))
    assert "undefined symbol: llama_model_n_embd_out" in str(error)
    assert "of another version" in error.hint


def test_a_folder_that_somebody_has_set_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, "/nowhere")
    error = import_error(FileNotFoundError("Shared library with base name 'llama' not found"))
    assert "in /nowhere" in str(error)
    assert "LLAMA_CPP_LIB_PATH is set to /nowhere: unset it" in error.hint


def test_what_is_not_installed() -> None:
    error = import_error(ModuleNotFoundError("No module named 'llama_cpp'"))
    assert "needs llama-cpp-python" in str(error)
    assert error.hint == "pip install 'ggufsurgeon[llama]'"
