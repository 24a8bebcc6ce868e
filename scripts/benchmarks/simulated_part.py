"""What a worker of the simulation `many_workers` does in place of a part of a scan."""

from __future__ import annotations

import pickle
import random
import time

from ggufsurgeon.clusters.requests import Reply, Request, unpacked
from ggufsurgeon.scanning.jobs.job import Scored, Work


def seconds_of(work: Work, pass_seconds: float) -> float:
    """The time that the passes of a part take: one for the states, and a part of one for a path."""
    n_blocks = 1 + max(max(path.blocks) for path in work.paths)
    passes = 1.0
    for path in work.paths:
        jumps = [n for n in range(1, len(path.blocks)) if path.blocks[n] != path.blocks[n - 1] + 1]
        passes += (n_blocks - path.blocks[jumps[0]]) / n_blocks if jumps else 1.0
    return passes * pass_seconds


def run_simulated(pass_seconds: float, n_items: int, content: bytes) -> bytes:
    """Sleep as long as the part of a request would take, and give scores of its size."""
    request: Request = pickle.loads(content)
    ((work,),) = unpacked(request.own, ())
    time.sleep(seconds_of(work, pass_seconds))
    first = work.group * n_items
    items = range(first, first + n_items)
    results = [
        Scored(path, items, tuple(random.random() for _ in items), pass_seconds)
        for path in work.paths
    ]
    return pickle.dumps(Reply(tuple(results), None), pickle.HIGHEST_PROTOCOL)
