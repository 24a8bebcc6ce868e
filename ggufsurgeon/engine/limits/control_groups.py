"""The control groups of Linux that this process is in: what a container may use.

Limits hold on every level: a group without one may lie in a group that has one. Version 1 has a
tree for each controller, version 2 one tree for all (cgroups(7), and in the kernel's sources
Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/memory.rst). A container often sees its own
group as the root of the tree, and none of the groups above.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

PROC = Path("/proc")
NO_LIMIT = 1 << 62
"""Version 1 says that there is no limit by the largest number of whole pages in 63 bits."""


@dataclass(frozen=True)
class ControlGroup:
    """The directory of one group, for one controller."""

    folder: Path
    version: int

    def numbers(self, name: str) -> tuple[int | None, ...]:
        """The numbers of a file, None for `max`; empty when there is no such file."""
        words = _read(self.folder / name).split()
        return tuple(int(word) if word.lstrip("-").isdigit() else None for word in words)

    def number(self, name: str) -> int | None:
        """The first number of a file; None for none."""
        return next(iter(self.numbers(name)), None)

    def fields(self, name: str) -> dict[str, int]:
        """The values of a file whose lines are a name and a number."""
        return read_fields(self.folder / name)


def control_groups(controller: str, proc: Path = PROC) -> tuple[ControlGroup, ...]:
    """The groups that limit this process by a controller, the innermost first.

    Empty where there are none that can be read, as on other systems. `proc` is where the kernel
    shows processes.
    """
    version, path = _path_of(controller, _read(proc / "self/cgroup"))
    mounts = _mounts(_read(proc / "self/mountinfo"))
    for mount in mounts if version else ():
        if mount.version == version and (version == 2 or controller in mount.controllers):
            below = _below(path, mount.root)
            parts = [part for part in below.split("/") if part]
            folders = [mount.folder.joinpath(*parts[:n]) for n in range(len(parts), -1, -1)]
            return tuple(ControlGroup(folder, version) for folder in folders)
    return ()


def memory_limit(group: ControlGroup) -> int | None:
    """Bytes of memory that a group may use; None for no limit.

    Above `memory.high` the kernel slows a group down until it frees memory.
    """
    names = ("memory.max", "memory.high") if group.version == 2 else ("memory.limit_in_bytes",)
    limits = [limit for name in names if (limit := group.number(name)) is not None]
    return min((limit for limit in limits if limit < NO_LIMIT), default=None)


def read_fields(path: Path) -> dict[str, int]:
    """The values of a file whose lines are a name and a number; empty when it cannot be read."""
    pairs = [line.split() for line in _read(path).splitlines()]
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdigit()}


class _Mount(NamedTuple):
    version: int
    root: str
    """The group that is mounted."""
    folder: Path
    controllers: tuple[str, ...]


def _path_of(controller: str, text: str) -> tuple[int, str]:
    """The version and the path of the group, from lines of NUMBER:CONTROLLERS:PATH; 0 for none."""
    found = 0, ""
    for line in text.splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(","):
            return 1, path
        if not controllers:
            found = 2, path
    return found


def _mounts(text: str) -> list[_Mount]:
    """The mounted trees, from lines of `ID PARENT DEVICE ROOT FOLDER ... - TYPE SOURCE OPTIONS`."""
    mounts = []
    for line in text.splitlines():
        words, _, rest = line.partition(" - ")
        kind, _, options = [*rest.split(), "", "", ""][:3]
        if kind in ("cgroup", "cgroup2"):
            root, folder = words.split()[3:5]
            version = 2 if kind == "cgroup2" else 1
            mounts.append(_Mount(version, root, Path(folder), tuple(options.split(","))))
    return mounts


def _below(path: str, root: str) -> str:
    """The path of a group below the group that is mounted; empty for a group outside of it."""
    above = root.rstrip("/")
    return path[len(above) :] if f"{path}/".startswith(f"{above}/") else ""


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
