"""One target under atheris: `python -m tests.fuzzing.under_atheris TARGET LIBFUZZER-OPTIONS`."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

import atheris

MOST_GROWTH = 16 << 20
"""Bytes that the memory of the process may grow by in one execution."""
WARM_UP = 1000
"""Executions, at the start, in which tables and modules are loaded."""


def main() -> None:
    """Fuzz until libFuzzer ends the process."""
    with atheris.instrument_imports(include=["ggufsurgeon"]):
        from tests.fuzzing.seeds import donors
        from tests.fuzzing.targets import FILES, TARGETS

        name = sys.argv.pop(1)
    changed: dict[str, Callable[[bytes, int, int], bytes]] = {}
    if name in FILES:
        changed["custom_mutator"] = _mutator(donors())
    atheris.Setup(sys.argv, _Watched(TARGETS[name]), **changed)
    atheris.Fuzz()


def _mutator(donors: tuple[bytes, ...]) -> Callable[[bytes, int, int], bytes]:
    from tests.fuzzing.mutating import Mutator

    mutate = Mutator(donors)

    def change(data: bytes, largest: int, seed: int) -> bytes:
        if seed % 16 == 0:
            return bytes(atheris.Mutate(data, largest))
        return mutate(data, seed, largest)

    return change


class _Watched:
    """A target that may not take much memory."""

    def __init__(self, target: Callable[[bytes], None]) -> None:
        self._target = target
        self._n_runs = 0

    def __call__(self, data: bytes) -> None:
        self._n_runs += 1
        before = _most_n_bytes()
        self._target(data)
        growth = _most_n_bytes() - before
        if growth > MOST_GROWTH and self._n_runs > WARM_UP:
            raise AssertionError(f"{len(data)} bytes took {growth:,} bytes of memory")


def _most_n_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
