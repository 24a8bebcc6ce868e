"""Answers to requests without a model: made of the request, so that they are always the same."""

from __future__ import annotations

from collections.abc import Iterable

from ggufsurgeon.leaderboard.requests import (
    EvaluationAnswer,
    EvaluationRequest,
    GenerationAnswer,
    LikelihoodAnswer,
    LikelihoodRequest,
    request_sha256,
)

TEXTS = (
    "Marble one, marble two.",
    "These are a few words about each marble that there is # in the box #",
    "Es sind nur wenige Murmeln in der Kiste. Sie sind rot. Mehr ist nicht zu sagen.",
    "Final Answer: The final answer is $\\frac{5}{2}$. I hope it is correct.",
    "It is $x=\\boxed{2}$. Final Answer: The final answer is $2$. I hope it is correct.",
    "",
)


def answer_to(request: EvaluationRequest, model: str = "") -> EvaluationAnswer:
    """The answer of a made-up model."""
    number = int(request_sha256(request)[:8], 16) ^ sum(model.encode())
    if isinstance(request, LikelihoodRequest):
        return LikelihoodAnswer(-(number % 997) / 31, number % 3 == 0, 0)
    return GenerationAnswer(TEXTS[number % len(TEXTS)], 5, False, 0)


def answers_to(
    requests: Iterable[EvaluationRequest], model: str = ""
) -> dict[EvaluationRequest, EvaluationAnswer]:
    """The answers of a made-up model to some requests."""
    return {request: answer_to(request, model) for request in requests}


def render(messages: list[dict[str, str]], add_generation_prompt: bool) -> str:
    """A chat template, as ChatML has it."""
    turns = [f"<|{message['role']}|>\n{message['content']}\n" for message in messages]
    return "".join([*turns, "<|assistant|>\n" if add_generation_prompt else ""])
