"""Fuzzing: laws that must hold for any file and any text, and a mutator for inputs.

`targets.py` has the laws, as functions of bytes that raise nothing. `scripts/fuzz` runs them under
atheris with the mutator of `mutating.py`; `test_corpus.py` replays what it found, without atheris.
"""
