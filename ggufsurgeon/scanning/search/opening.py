"""The scan that a search begins with, and the probe of the search, in their store."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.errors import UsageError
from ggufsurgeon.own_version import own_version
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.scanning.jobs.job import ItemTable, list_items
from ggufsurgeon.scanning.jobs.parts import settled_key
from ggufsurgeon.scanning.probes.answers import AnswerProbe, AnyProbe
from ggufsurgeon.scanning.probes.probe import probe_errors
from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
from ggufsurgeon.store.fingerprint import ModelFingerprint
from ggufsurgeon.store.machine import Machine
from ggufsurgeon.store.scan_scores import ProbeKey, ProbeScores, ScannedItem, ScannedModel
from ggufsurgeon.store.store import Store
from ggufsurgeon.workers.runner import Runner

SEARCH_SUFFIX = "-search"
"""What the name of a probe has behind it in a search."""


@dataclass(frozen=True)
class SearchTask:
    """A search over one model by one probe."""

    model: Path
    devices: Devices
    probe: AnyProbe
    limits: SearchLimits
    items: SearchItems


class OpenedSearch(NamedTuple):
    """A search and its scan in a store."""

    model: int
    """The number of the model in the store."""
    scanned_model: ScannedModel
    scan: ProbeScores
    scores: ProbeScores
    """Of the search, with items in its order."""
    items: ItemTable
    """In the order of the search."""


def open_search(store: Store, task: SearchTask, file: GgufFile, runner: Runner) -> OpenedSearch:
    """The scan and the search of a task.

    Raises UsageError for a probe of generated answers, for too few items, and where the store has
    no scan by this probe.
    """
    if isinstance(task.probe, AnswerProbe):
        raise UsageError(
            f"probe {task.probe.name}: searches work with probes that score given text, not answers"
        )
    over = task.model, task.devices, task.probe
    plain = runner.run(list_items, *over, None)
    task.items.check(plain.labels)
    scan_key = settled_key(store, runner, lambda machine: _key(task, plain, machine))
    scan = store.known_probe_scores(scan_key)
    if scan is None:
        raise _no_scan(task)
    if not scan.asked_paths():  # of an old store: paths of the search would count as the scan's
        scan.ask(list(scan.scores()), own_version())
    items = runner.run(list_items, *over, task.items)
    scores = store.probe_scores(
        dataclasses.replace(
            scan_key,
            name=f"{task.probe.name}{SEARCH_SUFFIX}",
            items_sha256=items.sha256,
            settings={**scan_key.settings, **task.items.settings()},
        )
    )
    scores.set_items([ScannedItem(*row) for row in zip(items.labels, items.n_tokens, strict=True)])
    model = ScannedModel(task.model.name, str(file.header.architecture), find_blocks(file).n_trunk)
    return OpenedSearch(store.model_number(scan_key.model), model, scan, scores, items)


def _key(task: SearchTask, items: ItemTable, machine: Machine) -> ProbeKey:
    """The key of the scan."""
    with probe_errors(task.probe.name):
        settings = {**task.probe.settings(), "devices": task.devices.as_settings()}
    return ProbeKey(
        ModelFingerprint.of(task.model),
        machine,
        task.probe.name,
        items.sha256,
        task.probe.unit,
        settings,
    )


def _no_scan(task: SearchTask) -> UsageError:
    return UsageError(
        f"the store has no scan of {task.model} by the probe {task.probe.name} with these items, "
        "on this machine and these devices",
        hint="Scan the windows into this store first, with the same options of the probe and the "
        "devices and threads. A race is not enough: it does not run all windows on the "
        "same items.",
    )
