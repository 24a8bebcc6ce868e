"""A process that adds groups of two chunks to a store: python -m tests.store.adding STORE N [BUSY].

It prints the first chunk of each group that is committed, and the program's error if there is one.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ggufsurgeon.errors import GgufSurgeonError
from ggufsurgeon.store.fingerprint import ModelFingerprint, TextFingerprint
from ggufsurgeon.store.machine import Machine
from ggufsurgeon.store.measurement import MeasurementKey
from ggufsurgeon.store.store import opened_store

KEY = MeasurementKey(
    model=ModelFingerprint("header", "data", 1000),
    text=TextFingerprint.of(b"some text"),
    machine=Machine("an engine", "a CPU", "[]"),
    settings={"n_ctx": 64, "n_batch": None},
)
PATH = "0..3,1..4"


def scores(first: int) -> npt.NDArray[np.float64]:
    """Those of the chunks `first` and `first` + 1, with digits that a text would round."""
    return np.sqrt(np.arange(2000 * first, 2000 * first + 4000)).reshape(2, 2000)


def add_groups(store: Path, n_groups: int, busy_seconds: float) -> None:
    with opened_store(store, busy_seconds) as opened:
        measurement = opened.measurement(KEY)
        known = measurement.arrays(PATH)
        for first in range(len(known.get("losses", ())), 2 * n_groups, 2):
            measurement.add(PATH, first, {"losses": scores(first)})
            print(first, flush=True)


def main() -> None:
    store, n_groups, busy_seconds = [*sys.argv[1:], "30"][:3]
    try:
        add_groups(Path(store), int(n_groups), float(busy_seconds))
    except GgufSurgeonError as error:
        print(f"{error} {error.state} {error.hint}", file=sys.stderr)
        sys.exit(error.exit_code)


if __name__ == "__main__":
    main()
