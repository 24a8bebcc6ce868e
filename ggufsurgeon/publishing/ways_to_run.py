"""The few lines that run a GGUF in llama.cpp, llama-cpp-python, Ollama and LM Studio."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.container.shell_words import argument, shell_command
from ggufsurgeon.errors import RefusedError
from ggufsurgeon.publishing.modelfile import modelfile, ollama_name

PROMPT = "Once upon a time"
MOST_CONTEXT = 4096
"""Tokens of the context in the lines for Python, which by default has 512."""


class WayToRun(NamedTuple):
    """A program, the lines to give it, and their language: `sh` or `python`."""

    program: str
    language: str
    lines: tuple[str, ...]


def ways_to_run(patched: GgufFile) -> tuple[WayToRun, ...]:
    """What runs the file, for a user whose working folder contains it.

    Ollama is left out where it cannot take the file (see `modelfile`).
    """
    return tuple(_ways(patched))


def _ways(patched: GgufFile) -> Iterator[WayToRun]:
    name, header = Path(patched.path.name), patched.header
    if _is_encoder(header):
        yield WayToRun(
            "llama.cpp", "sh", (shell_command("llama-embedding", "-m", name, "-p", PROMPT),)
        )
    elif _has_template(header):
        yield WayToRun("llama.cpp", "sh", (shell_command("llama-server", "-m", name),))
    else:
        command = shell_command("llama-completion", "-m", name, "-p", PROMPT)
        yield WayToRun("llama.cpp", "sh", (shell_command("llama-server", "-m", name), command))
    yield WayToRun("llama-cpp-python", "python", tuple(_python(name, header)))
    ollama = _ollama(patched)
    if ollama:
        yield WayToRun("Ollama", "sh", ollama)
    yield WayToRun("LM Studio", "sh", (shell_command("lms", "import", "-c", name),))


def _python(name: Path, header: Header) -> Iterator[str]:
    length = header.get(f"{header.architecture}.context_length")
    n_ctx = min(length, MOST_CONTEXT) if isinstance(length, int) and length > 0 else MOST_CONTEXT
    embedding = ", embedding=True" if _is_encoder(header) else ""
    yield "from llama_cpp import Llama"
    yield ""
    yield f"llama = Llama({argument(name)!r}, n_ctx={n_ctx}{embedding})"
    if embedding:
        yield f'print(llama.embed("{PROMPT}"))'
    elif _has_template(header):
        yield 'messages = [{"role": "user", "content": "Hello!"}]'
        yield "answer = llama.create_chat_completion(messages)"
        yield 'print(answer["choices"][0]["message"]["content"])'
    else:
        yield f'print(llama("{PROMPT}", max_tokens=32)["choices"][0]["text"])'


def _ollama(patched: GgufFile) -> tuple[str, ...]:
    """Lines that write the Modelfile and use it; none where there can be no Modelfile."""
    try:
        text = modelfile(patched)
    except RefusedError:
        return ()
    name = ollama_name(patched)
    return (
        f"printf '%s\\n' {shell_command(text.rstrip())} > Modelfile",
        shell_command("ollama", "create", name, "-f", "Modelfile"),
        shell_command("ollama", "run", name),
    )


def _is_encoder(header: Header) -> bool:
    row = ARCHITECTURES.get(header.architecture or "")
    return row is not None and row.is_encoder


def _has_template(header: Header) -> bool:
    return isinstance(header.get("tokenizer.chat_template"), str)
