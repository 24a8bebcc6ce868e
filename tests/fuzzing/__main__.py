"""Fuzz targets one after the other: what `scripts/fuzz` runs."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.fuzzing.keeping import name_of, smallest_cover
from tests.fuzzing.seeds import for_target
from tests.fuzzing.targets import FILES, TARGETS

ROOT = Path(__file__).parents[2]
WORK = ROOT / ".fuzz"
KEPT = ROOT / "fixtures/fuzz_corpus"
LARGEST_INPUT = 8192
SECONDS = 2
"""Longest time of an execution."""
N_BYTES_MEMORY = 1 << 30
BAR = "{:12} {:>12} {:>8} {:>8} {:>8}  {}"


class Run(NamedTuple):
    """What libFuzzer reports of a run."""

    n_runs: int
    per_second: int
    n_edges: int
    n_inputs: int
    findings: list[Path]


def main() -> int:
    """Print a line a target. The exit code is 1 where a law was broken."""
    options = _options()
    print(BAR.format("target", "executions", "/s", "edges", "inputs", "findings"))
    total, broken = 0, False
    for name in options.target or TARGETS:
        run = fuzz(name, options.seconds)
        found = " ".join(str(path.relative_to(ROOT)) for path in run.findings) or "-"
        print(BAR.format(name, run.n_runs, run.per_second, run.n_edges, run.n_inputs, found))
        total, broken = total + run.n_runs, broken or bool(run.findings)
        if options.keep:
            _keep(name)
    print(f"{total:,} executions; inputs, findings and logs are in {WORK.relative_to(ROOT)}/")
    return int(broken)


def fuzz(name: str, seconds: int) -> Run:
    """Run one target in a process of its own, which ends at the first finding."""
    folder = WORK / name
    corpus, found = folder / "corpus", folder / "findings"
    for each in (corpus, found):
        each.mkdir(parents=True, exist_ok=True)
    for data in (*for_target(name), *kept(name)):
        (corpus / name_of(data)).write_bytes(data)
    before = set(found.iterdir())
    command = [sys.executable, "-m", "tests.fuzzing.under_atheris", name]
    command += [f"-max_total_time={seconds}", f"-max_len={LARGEST_INPUT}", f"-timeout={SECONDS}"]
    command += [f"-rss_limit_mb={N_BYTES_MEMORY >> 20}", f"-artifact_prefix={found}/"]
    command += ["-print_final_stats=1", str(corpus)]
    done = subprocess.run(command, cwd=ROOT, stderr=subprocess.STDOUT, stdout=subprocess.PIPE)
    log = done.stdout.decode(errors="replace")
    (folder / "log").write_text(log)
    findings = sorted(set(found.iterdir()) - before)
    if done.returncode and not findings:
        raise SystemExit(f"{' '.join(command)} failed:\n{log[-2000:]}")
    return Run(
        _last(r"number_of_executed_units: (\d+)", log),
        _last(r"average_exec_per_sec: +(\d+)", log),
        _last(r" cov: (\d+)", log),
        len(list(corpus.iterdir())),
        findings,
    )


def kept(name: str) -> Iterator[bytes]:
    """The inputs of a target that the project keeps."""
    for path in sorted((KEPT / name).glob("*")):
        yield path.read_bytes()


def _keep(name: str) -> None:
    """Put what runs lines of the program that no kept input runs into the kept corpus."""
    (KEPT / name).mkdir(parents=True, exist_ok=True)
    inputs = [path.read_bytes() for path in (WORK / name / "corpus").iterdir()]
    target, reached = TARGETS[name], set[tuple[str, int]]()
    for _ in smallest_cover(target, kept(name), reached):
        pass
    for data in smallest_cover(target, inputs, reached):
        (KEPT / name / name_of(data)).write_bytes(data)


def _last(pattern: str, log: str) -> int:
    found = re.findall(pattern, log)
    return int(found[-1]) if found else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/fuzz",
        description="Try hostile files and texts under atheris, and tell where a law is broken.",
        epilog=f"Files: {', '.join(FILES)}; texts: the others.",
    )
    parser.add_argument("target", nargs="*", choices=[[], *TARGETS], help="all, if none is named")
    parser.add_argument("--seconds", type=int, default=60, help="time for each target (60)")
    parser.add_argument(
        "--keep", action="store_true", help="put small inputs with new lines into fixtures/"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
