"""How documents become prompts, beyond what lm-evaluation-harness fixes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from ggufsurgeon.errors import UsageError


class ChatTemplate(Protocol):
    """The chat template of a model as a function."""

    def __call__(self, messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
        """The prompt for messages, each with a `role` and a `content`.

        With `add_generation_prompt` it ends with the beginning of an answer.
        """


@dataclass(frozen=True)
class Prompting:
    """How the harness makes prompts of documents, and texts become answers.

    The same value must be given when requests are collected and when their answers are scored.
    Raises UsageError for a negative number of tokens and for an empty tag.
    """

    chat: ChatTemplate | None = None
    """The chat template to apply; None for plain text. The few-shot examples are turns of their
    own, as the leaderboard had it ("for instruction models add the --apply_chat_template and
    fewshot_as_multiturn option", huggingface.co/docs/leaderboards/open_llm_leaderboard/about)."""
    n_thinking_tokens: int = 0
    """Tokens that a generated text may have beyond the harness' limit, to think in."""
    thinking_end: str | None = None
    """The tag after which an answer begins, such as `</think>`. The text up to the last tag and the
    white space after it are left out before scoring, as the harness' HF backend does for
    `think_end_token` (lm_eval/models/utils.py, postprocess_generated_text). A text without the tag
    is scored as it is."""

    def __post_init__(self) -> None:
        if self.n_thinking_tokens < 0:
            raise UsageError(f"{self.n_thinking_tokens} tokens for thinking: at least 0 are needed")
        if self.thinking_end == "":
            raise UsageError("the tag that ends the thinking of a model is empty")

    def answer_in(self, text: str) -> str:
        """The part of a generated text that is scored."""
        if self.thinking_end is None:
            return text
        return text.split(self.thinking_end)[-1].lstrip()


PLAIN = Prompting()
