"""A conversation in the terminal: what is said so far, and the layer path of the next answer."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.terminal import print_error, print_note, print_piece, print_text
from ggufsurgeon.errors import EngineError, GgufSurgeonError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.api.files import ModelFile
    from ggufsurgeon.api.loaded_model import LoadedModel
    from ggufsurgeon.inference.contexts import ContextSettings

COMMANDS = """/path LAYERS  change the layer path, such as 0..16,10..29
/path plain   run the model as it is
/path         show the layer path
/reset        forget the conversation
/quit         leave (Ctrl-D does too); Ctrl-C stops an answer"""
PLAIN = "plain"
NAME = "chat"


@dataclass
class Conversation:
    """Messages with a model that is loaded, whose layer path may change between them."""

    file: ModelFile
    model: LoadedModel
    path: AnyPath | None
    settings: ContextSettings
    sampling: dict[str, Any]
    system: str | None = None
    messages: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget all but the system prompt."""
        self.messages = [] if self.system is None else [_message("system", self.system)]

    def start(self) -> None:
        """Load the model. Raises what makes a conversation impossible, such as no chat template."""
        from ggufsurgeon.inference.requests import RequestKind

        self.model.prepare(RequestKind.CHAT, self.path, name=NAME, settings=self.settings)
        print_note(f"layer path: {self.path_text}")
        _print_commands()

    @property
    def path_text(self) -> str:
        """The layer path in full; `plain` for the model as it is."""
        return PLAIN if self.path is None else str(self.file.plan(self.path).layer_path)

    def take(self, line: str) -> bool:
        """Answer a line, or do what it commands; False when it ends the conversation."""
        word, _, rest = line.strip().partition(" ")
        if word in ("/quit", "/exit"):
            return False
        if word == "/reset":
            self.reset()
            print_note("the conversation is forgotten")
        elif word == "/path":
            self._change_path(rest.strip())
        elif word.startswith("/"):
            if word != "/help":
                print_note(f"{word} is not a command")
            _print_commands()
        elif line.strip():
            self._answer(line)
        return True

    def _change_path(self, text: str) -> None:
        before = self.path
        try:
            if text:
                self.path = None if text == PLAIN else LayerPath(text)
            print_note(f"layer path: {self.path_text}")
        except GgufSurgeonError as error:
            self.path = before
            print_error(str(error), f"The layer path is still {self.path_text}.", error.hint)

    def _answer(self, line: str) -> None:
        """Print the answer as it comes. Of one that Ctrl-C stops, what is printed is kept."""
        self.messages.append(_message("user", line))
        printed: list[str] = []
        times: list[float] = []

        def show(chunk: dict[str, Any]) -> None:
            piece = chunk["choices"][0]["delta"].get("content")
            if piece:
                times.append(time.perf_counter())
                printed.append(piece)
                print_piece(piece)

        try:
            self._request(show)
            print_text("")
        except KeyboardInterrupt:
            print_text("")
            print_note("stopped")
        except GgufSurgeonError as error:
            if isinstance(error, EngineError):
                raise
            self.messages.pop()
            print_error(str(error), "The message is not part of the conversation.", error.hint)
            return
        self.messages.append(_message("assistant", "".join(printed)))
        if len(times) > 1:
            rate = (len(times) - 1) / (times[-1] - times[0])
            print_note(f"[{self.path_text}: {rate:.1f} tokens/s]")

    def _request(self, show: Any) -> None:
        from ggufsurgeon.inference.requests import RequestKind

        arguments = {"messages": self.messages, "stream": True, **self.sampling}
        self.model.request(
            RequestKind.CHAT,
            arguments,
            self.path,
            name=NAME,
            settings=self.settings,
            on_chunk=show,
        )


def _print_commands() -> None:
    for line in COMMANDS.splitlines():
        print_note(line)


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
