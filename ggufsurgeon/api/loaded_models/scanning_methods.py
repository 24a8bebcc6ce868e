"""Scans of a loaded model: many layer paths by one probe, kept in a store."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.api.loaded_models.model_over_runner import ModelOverRunner
from ggufsurgeon.api.paths import PathLike
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from ggufsurgeon.scanning.jobs.job import Scored
    from ggufsurgeon.scanning.probes.answers import AnyProbe
    from ggufsurgeon.scanning.racing.race import Race
    from ggufsurgeon.scanning.scan import ScanSize
    from ggufsurgeon.scanning.search.findings import SearchFindings
    from ggufsurgeon.scanning.search.search import SearchStep
    from ggufsurgeon.workers.runner import Runner


class ScanningMethods(ModelOverRunner):
    """The methods of a loaded model that scan layer paths."""

    def scan(
        self,
        store: PathLike,
        probe: AnyProbe,
        paths: Sequence[AnyPath],
        *,
        only_writable: bool = False,
        race: Race | None = None,
        with_hash: bool = False,
        executor: Executor | None = None,
        scheduler: str | None = None,
        on_worker: Callable[[str], object] | None = None,
        progress: Progress = NO_PROGRESS,
        on_size: Callable[[ScanSize], object] | None = None,
        on_result: Callable[[Scored], object] | None = None,
        on_wait: Callable[[str], object] | None = None,
    ) -> None:
        """Score each item of a probe along each of `paths`, and keep the scores in a store.

        The unmodified model is scored too; a path costs what lies behind the block that it enters
        at. Answers are generated along each path; which of them could be parsed is kept as a probe
        of its own, such as `answers parsed`. What the store has already is not run again, so the
        same call goes on with a scan that was interrupted. With `only_writable`, paths of which no
        file can be written are left out. With a `race`, which is of probes that score tokens, all
        paths are scored on a few items and the better ones on more; its winner is judged by items
        that are no part of it. `with_hash` compares the SHA-256 of the whole model file with that
        in the store, besides the hash of its header, its size and a sample of its weights.
        With an `executor` (the interface of `concurrent.futures`), its workers run the scan. Each
        worker starts a process that loads the model from the same path, or from a folder of the
        environment variable GGUFSURGEON_MODELS. With the address of a Dask `scheduler`, such as
        tcp://host:8786, the workers of its cluster run the scan. `on_worker` is then called, from
        another thread, with a message about workers that join, leave or are excluded.
        `on_size` is called before the work, `on_result` with each group of scores once it is kept,
        `on_wait` once with the name of another process if its part of the work is waited for.
        Raises UsageError for items that do not fit the model and for a probe that fails,
        RefusedError for a file that is no store or has scores of another model file, and where none
        of the paths can be run, WriteFailedError where the store cannot grow; with a `scheduler`,
        MissingExtraError without the package `distributed`, and UsageError where no scheduler
        answers, where it is lost, and where no worker fits.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
        >>> windows = [gs.repeat("1:3"), gs.repeat("3:4")]
        >>> with (
        ...     tempfile.TemporaryDirectory() as folder,
        ...     gs.load("fixtures/stories260K.gguf") as model,
        ... ):
        ...     model.scan(f"{folder}/scan.db", ArithmeticProbe(12), windows)
        ...     (findings,) = gs.scan_findings(f"{folder}/scan.db")
        >>> (probe,) = findings.probes
        >>> len(probe.item_labels), sorted(path.layer_path for path in probe.paths)
        (12, ['0..2,1..4', '0..3,3..4'])
        """
        from ggufsurgeon.hashing.whole_file import content_sha256
        from ggufsurgeon.scanning.scan import ScanTask, scan

        self._check_alone("a scan")
        _check_arguments(probe, paths)
        chosen = tuple(dict.fromkeys(self._over(path) for path in paths))
        sha256 = content_sha256(self.path, progress) if with_hash else None
        task = ScanTask(self.path, self._devices, probe, chosen, only_writable, race, sha256)
        with self._scanning_runner(sha256, executor, scheduler, on_worker) as runner:
            scan(
                task,
                Path(store),
                runner,
                progress=progress,
                on_size=on_size,
                on_result=on_result,
                on_wait=on_wait,
            )

    @contextmanager
    def _scanning_runner(
        self,
        content_sha256: str | None,
        executor: Executor | None,
        scheduler: str | None,
        on_worker: Callable[[str], object] | None,
    ) -> Iterator[Runner]:
        """The runner of this model, or one over other workers that have the same model."""
        if executor is None and scheduler is None:
            yield self._runner
            return
        if executor is not None and scheduler is not None:
            raise UsageError("an executor and a scheduler exclude each other")
        from ggufsurgeon.clusters.dask.executor import DaskExecutor
        from ggufsurgeon.clusters.executor_runner import ExecutorRunner
        from ggufsurgeon.clusters.requests import NeededModel

        needed = NeededModel.of(self.path, content_sha256)
        with ExitStack() as stack:
            if executor is None:
                executor = stack.enter_context(DaskExecutor(scheduler or "", on_worker))
            yield stack.enter_context(ExecutorRunner(executor, [needed]))

    def search(
        self,
        store: PathLike,
        probe: AnyProbe,
        *,
        max_blocks: int = 8,
        beam: int = 8,
        max_paths: int = 256,
        strengths: Sequence[float] = (0.5,),
        held_out: float = 0.5,
        seed: int = 0,
        executor: Executor | None = None,
        scheduler: str | None = None,
        on_worker: Callable[[str], object] | None = None,
        progress: Progress = NO_PROGRESS,
        on_step: Callable[[SearchStep], object] | None = None,
        on_wait: Callable[[str], object] | None = None,
    ) -> SearchFindings:
        """Combine the windows of a scan in the store into layer paths, and test the best paths.

        This is a beam search. The best windows on the search items are run first. Then the `beam`
        best paths so far are extended by one more window, and their repeats are tried with the
        `strengths`, damped, and with one more pass, until all of the best paths have been extended
        or `max_paths` paths have been run. A path adds at most `max_blocks` blocks to the model,
        and only paths that can be written exactly are tried. A share `held_out` of the items, drawn
        with `seed`, is not used by the search; the best path of each length is tested on it.
        Scores in the store are not computed again. `executor`, `scheduler` and `on_worker` are
        those of `scan`. `on_step` is called before each step, `on_wait` as by `scan`. Raises
        UsageError for items that do not fit, for limits that allow no path, and where the store has
        no scan of the same items, RefusedError where none of its windows can be combined, and as
        `scan`.

        >>> import tempfile
        >>> import ggufsurgeon as gs
        >>> from ggufsurgeon.scanning.probes.arithmetic import ArithmeticProbe
        >>> probe, windows = ArithmeticProbe(12), [gs.repeat("1:3"), gs.repeat("3:4")]
        >>> with (
        ...     tempfile.TemporaryDirectory() as folder,
        ...     gs.load("fixtures/stories260K.gguf") as model,
        ... ):
        ...     model.scan(f"{folder}/scan.db", probe, windows)
        ...     found = model.search(f"{folder}/scan.db", probe, max_blocks=3, strengths=())
        >>> [(best.path.cost.n_blocks, best.path.layer_path) for best in found.best]
        [(1, '0..3,3..4'), (2, '0..2,1..4'), (3, '0..2,1..3,3..4')]
        """
        from ggufsurgeon.api.reports.search_reports import search_findings
        from ggufsurgeon.scanning.search.limits import SearchItems, SearchLimits
        from ggufsurgeon.scanning.search.opening import SearchTask
        from ggufsurgeon.scanning.search.search import search

        _check_arguments(probe, ())
        if not 0 < held_out < 1:
            raise UsageError(
                f"a share of {held_out} held-out items: expected one between 0 and 1, but neither"
            )
        limits = SearchLimits(max_blocks, beam, max_paths, tuple(strengths))
        items = SearchItems(held_out, seed)
        task = SearchTask(self.path, self._devices, probe, limits, items)
        with self._scanning_runner(None, executor, scheduler, on_worker) as runner:
            number = search(
                task, Path(store), runner, progress=progress, on_step=on_step, on_wait=on_wait
            )
        return search_findings(store, number=number)[0]


def _check_arguments(probe: object, paths: object) -> None:
    """Raise UsageError for a probe that is none, and for a single path where several belong."""
    from ggufsurgeon.scanning.probes.answers import AnswerProbe
    from ggufsurgeon.scanning.probes.probe import Probe

    if not isinstance(probe, Probe | AnswerProbe):
        raise UsageError(f"{probe!r} is no probe: expected an object such as ArithmeticProbe(64)")
    if isinstance(paths, str) or not isinstance(paths, Iterable):
        raise UsageError(f"{paths!r} is no list of layer paths")
