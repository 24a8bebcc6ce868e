"""A conversation in the terminal: what is said so far, and the layer path of the next answer."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ggufsurgeon.cli.output.devices import print_placements
from ggufsurgeon.cli.output.further_models import check_given
from ggufsurgeon.cli.output.terminal import (
    OutputError,
    print_error,
    print_note,
    print_piece,
    print_text,
)
from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.path import LayerPath

if TYPE_CHECKING:
    from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel
    from ggufsurgeon.inference.contexts import ContextSettings

COMMANDS = """/path LAYERS  change the layer path, such as 0..16,10..29
/path plain   run the model as it is
/path         show the layer path
/reset        clear the conversation
/quit         end the program (or Ctrl-D); Ctrl-C stops an answer"""
PLAIN = "plain"
NAME = "chat"
LEAST_FOR_RATE = 8
"""Fewer tokens are no measure of a rate."""


@dataclass
class Conversation:
    """Messages with a model that is loaded, whose layer path may change between them."""

    model: LoadedModel
    path: AnyPath | None
    settings: ContextSettings
    sampling: dict[str, Any]
    system: str | None = None
    n_others: int = 0
    """The number of further models that layer paths may use."""
    messages: list[dict[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Clear all but the system prompt."""
        self.messages = [] if self.system is None else [_message("system", self.system)]

    def start(self) -> None:
        """Load the model. Raises what makes a conversation impossible, such as no chat template."""
        self._prepare()
        _print_commands()

    def _prepare(self) -> None:
        """Make the context of the layer path."""
        from ggufsurgeon.inference.requests import RequestKind

        made = self.model.prepare(RequestKind.CHAT, self.path, name=NAME, settings=self.settings)
        print_note(f"layer path: {self.path_text}")
        print_placements(made)

    @property
    def path_text(self) -> str:
        """The layer path in full; `plain` for the model as it is."""
        return PLAIN if self.path is None else str(self.model.layer_path(self.path))

    def take(self, line: str) -> bool:
        """Answer a line, or do what it commands; False when it ends the conversation."""
        word, _, rest = line.strip().partition(" ")
        if word in ("/quit", "/exit"):
            return False
        if word == "/reset":
            self.reset()
            print_note("conversation cleared")
        elif word == "/path":
            self._change_path(rest.strip())
        elif word.startswith("/"):
            if word != "/help":
                print_note(f"{word} is not a command")
            _print_commands()
        elif line.strip():
            self._answer(line.rstrip("\n"))
        return True

    def _change_path(self, text: str) -> None:
        before = self.path
        try:
            if text:
                self.path = None if text == PLAIN else LayerPath(text)
                check_given([self.path], self.n_others)
            self._prepare()
        except GgufSurgeonError as error:
            if self.model.is_lost:
                raise
            self.path = before
            print_error(str(error), f"The layer path is still {self.path_text}.", error.hint)

    def _answer(self, line: str) -> None:
        """Print the answer as it comes. Of one that Ctrl-C stops, what is printed is kept."""
        self.messages.append(_message("user", line))
        answer = Answer()
        try:
            self._request(answer.take)
            print_text("")
        except KeyboardInterrupt:
            print_text("")
            print_note("stopped")
        except OutputError:
            raise
        except GgufSurgeonError as error:
            if self.model.is_lost:
                raise
            self.messages.pop()
            state = "The message is not part of the conversation."
            print_error(str(error), state, error.hint or _hint(error))
            return
        self.messages.append(_message("assistant", answer.text))
        if answer.rate:
            print_note(f"[{self.path_text}: {answer.rate:.1f} tokens/s]")

    def _request(self, show: Callable[[dict[str, Any]], object]) -> None:
        from ggufsurgeon.inference.requests import RequestKind

        arguments = {"messages": self.messages, "stream": True, **self.sampling}
        self.model.request(
            RequestKind.CHAT,
            arguments,
            self.path,
            name=NAME,
            settings=self.settings,
            has_usage=True,
            on_chunk=show,
        )


@dataclass
class Answer:
    """An answer, printed as it comes."""

    text: str = ""
    rate: float = 0.0
    """Tokens per second after the first; 0 for an answer that is short or was stopped."""
    _started: float = 0.0

    def take(self, chunk: dict[str, Any]) -> None:
        """Print a chunk of the stream, or take the rate from the last one, which has no text."""
        if not chunk["choices"]:
            n_tokens = chunk["usage"]["completion_tokens"]
            if n_tokens >= LEAST_FOR_RATE:
                self.rate = (n_tokens - 1) / (time.perf_counter() - self._started)
            return
        piece = chunk["choices"][0]["delta"].get("content")
        if piece:
            self._started = self._started or time.perf_counter()
            self.text += piece
            print_piece(piece)


def _print_commands() -> None:
    for line in COMMANDS.splitlines():
        print_note(line)


def _hint(error: GgufSurgeonError) -> str:
    is_long = "exceed context window" in str(error)
    return "/reset clears the conversation; a larger --ctx has room for more." if is_long else ""


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}
