"""The probes that the options of `ggufsurgeon scan` ask for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.cli.measuring.task_files import ONLY_JSONL, tasks_of
from ggufsurgeon.cli.measuring.text_notes import noted_text
from ggufsurgeon.errors import UsageError

if TYPE_CHECKING:
    from ggufsurgeon.scanning.probes.answers import AnswerProbe, AnyProbe
    from ggufsurgeon.scanning.probes.probe import Probe

DEFAULT_N_CTX = 512


def check_used(
    text: Path | None,
    ctx: int | None,
    chunks: int | None,
    seed: int | None,
    seeded: Mapping[str, int | None],
) -> None:
    """Raise UsageError for options of probes that are not asked for; `seeded` are those that have
    a seed, by option."""
    for name, value in {"--ctx": ctx, "--chunks": chunks}.items():
        if value is not None and text is None:
            raise UsageError(f"{name} requires --text")
    if seed is not None and all(value is None for value in seeded.values()):
        raise UsageError(f"--seed requires {' or '.join(seeded)}")


def likelihood_probes(
    text: Path | None,
    n_ctx: int,
    n_chunks: int | None,
    choices: Path | None,
    n_problems: int | None,
    seed: int,
) -> Iterator[Probe]:
    """Probes that score how likely given texts are."""
    if text is not None:
        from ggufsurgeon.scanning.probes.text import TextProbe

        yield TextProbe(noted_text(text).content, n_ctx, n_chunks)
    if choices is not None:
        from ggufsurgeon.scanning.probes.choices import ChoicesProbe

        yield ChoicesProbe(tasks_of(choices, hint=ONLY_JSONL))
    if n_problems is not None:
        from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe

        yield ArithmeticProbe(n_problems, seed)


def answer_probes(
    n_problems: int | None, seed: int, rys_math: Path | None, rys_eq: Path | None
) -> Iterator[AnswerProbe]:
    """Probes that score generated answers."""
    if n_problems is not None:
        from ggufsurgeon.scanning.probes.arithmetic_answers import ArithmeticAnswerProbe

        yield ArithmeticAnswerProbe(n_problems, seed)
    if rys_math is not None:
        from ggufsurgeon.scanning.probes.rys_files import read_math_questions
        from ggufsurgeon.scanning.probes.rys_math import RysMathProbe

        yield RysMathProbe(read_math_questions(rys_math))
    if rys_eq is not None:
        from ggufsurgeon.scanning.probes.rys_eq import RysEqProbe
        from ggufsurgeon.scanning.probes.rys_files import read_emotion_questions

        yield RysEqProbe(read_emotion_questions(rys_eq))


def installed_probes(names_and_texts: Sequence[str]) -> Iterator[AnyProbe]:
    """Probes of other packages. Raises UsageError for a text without `=`, and as `installed_probe`
    does."""
    for name_and_text in names_and_texts:
        from ggufsurgeon.scanning.probes.installed import installed_probe

        name, sign, text = name_and_text.partition("=")
        if not (name and sign):
            raise UsageError(f"--probe {name_and_text}: expected NAME=TEXT")
        yield installed_probe(name, text)
