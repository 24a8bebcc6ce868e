"""A generated text as it grows: where it ends, and which part of it is the answer."""

from __future__ import annotations

from ggufsurgeon.engine.model import Model
from ggufsurgeon.leaderboard.answering.encoding import GenerationTokens
from ggufsurgeon.leaderboard.requests import GenerationAnswer


class TextSoFar:
    """The tokens generated after one prompt."""

    def __init__(self, model: Model, request: GenerationTokens) -> None:
        self._model = model
        self._request = request
        self._stops = [stop.encode() for stop in request.stops]
        self._tail = b""
        """The last bytes, special tokens included, in which a stop string may begin."""
        self._is_stopped = False
        self.tokens: list[int] = []

    def add(self, token: int) -> bool:
        """Add a token; whether the text ends with it, by a stop string or at its limit."""
        self.tokens.append(token)
        self._tail += self._model.text_of(token)
        self._is_stopped = any(stop in self._tail for stop in self._stops)
        n_kept = max(map(len, self._stops), default=1) - 1
        self._tail = self._tail[-n_kept:] if n_kept else b""
        return self._is_stopped or len(self.tokens) >= self._request.max_tokens

    def answer(self) -> GenerationAnswer:
        """The text, cut in front of the first stop string.

        The strings are applied one after the other, as by lm-eval's `postprocess_generated_text`
        (lm_eval/models/utils.py).
        """
        text = self._model.visible_text(self.tokens)
        for stop in self._request.stops:
            text = text.split(stop)[0]
        is_at_limit = not self._is_stopped and len(self.tokens) >= self._request.max_tokens
        return GenerationAnswer(text, len(self.tokens), is_at_limit, self._request.n_cut)

    def not_finite(self) -> GenerationAnswer:
        """The answer of a model whose logits after the text are not finite numbers."""
        return GenerationAnswer(None, len(self.tokens), False, self._request.n_cut)
