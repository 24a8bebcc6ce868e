"""What the harness needs besides documents: packages, and NLTK's sentence splitter."""

from __future__ import annotations

import io
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from ggufsurgeon.errors import MissingExtraError
from ggufsurgeon.leaderboard.harness.benchmarks import Benchmark

HARNESS_VERSION = "0.4.13"
"""The only release that is accepted, since prompts and scores change between releases."""
_INSTALL = "pip install 'ggufsurgeon[leaderboard]'"
_MODULES = {
    "ifeval": ("nltk", "langdetect", "immutabledict"),
    "math": ("sympy", "math_verify"),
}
"""What scoring imports, besides lm_eval."""
_ANTLR_VERSION = "4.11"
"""sympy reads LaTeX with this release alone (sympy/parsing/latex/_parse_latex_antlr.py). With
another, or without it, the harness scores MATH's `exact_match_original` as 0 and says nothing:
its `process_results` catches every exception."""


def check_packages(benchmarks: Sequence[Benchmark]) -> None:
    """Check that lm-evaluation-harness is there, and what it needs to score these benchmarks.

    Raises MissingExtraError.
    """
    names = [benchmark.name for benchmark in benchmarks]
    check_package("lm_eval")
    _check_version("lm-eval", HARNESS_VERSION)
    if "math" in names:
        check_package("antlr4")
        _check_version("antlr4-python3-runtime", _ANTLR_VERSION)
    for module in ("datasets", *(module for name in names for module in _MODULES.get(name, ()))):
        check_package(module)


def check_package(module: str) -> None:
    """Check that a module of the harness, or of what it needs, can be imported.

    Raises MissingExtraError.
    """
    try:
        import_module(module)
    except ImportError as error:
        raise MissingExtraError(
            "the benchmarks of the leaderboard need lm-evaluation-harness, and "
            f"{module} cannot be imported: {error}",
            hint=_INSTALL,
        ) from error


def _check_version(package: str, expected: str) -> None:
    try:
        installed = version(package)
    except PackageNotFoundError:
        installed = "of no known version"
    if f"{installed}.".startswith(f"{expected}."):
        return
    raise MissingExtraError(
        f"{package} {installed} is installed, but {package} {expected} is needed: prompts and "
        f"scores are those of lm-eval {HARNESS_VERSION}",
        hint=_INSTALL,
    )


def check_sentence_splitter(is_offline: bool) -> None:
    """Find the data of NLTK's sentence splitter, which scores IFEval, or download it.

    The harness would try to download them when it is imported, report success on standard output
    even where that failed, and fail after all texts are generated. Raises MissingExtraError.
    """
    import nltk

    try:
        nltk.data.find("tokenizers/punkt_tab")
        return
    except LookupError:
        pass
    if is_offline or not nltk.download("punkt_tab", quiet=True, print_error_to=io.StringIO()):
        raise MissingExtraError(
            "IFEval is scored with NLTK's sentence splitter, whose data (punkt_tab) are not "
            "installed" + ("" if is_offline else " and could not be downloaded"),
            hint="Where there is a network: python -m nltk.downloader punkt_tab. It writes a "
            "folder nltk_data, which can be copied; the variable NLTK_DATA says where it is.",
        )
