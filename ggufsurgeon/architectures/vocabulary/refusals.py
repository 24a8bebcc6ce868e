"""What is refused, whatever the path: no exact file exists, or nobody here knows one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.architectures.model import Edit, Model, Rule
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import RefusedError


@dataclass(frozen=True)
class Refused(Rule):
    """No path but the one that changes nothing."""

    reason: str
    key: str = ""
    crosses: bool = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """A refusal."""
        raise RefusedError(f"architecture {model.header.architecture!r}: {self.reason}")


@dataclass(frozen=True)
class NotYet(Rule):
    """A feature whose rule this version does not know: refused when the key is above `off`."""

    key: str
    feature: str
    off: int = 0
    crosses = True

    def follow(self, model: Model, path: Sequence[int]) -> Iterator[Edit]:
        """Nothing, or a refusal."""
        pair = model.pair(self.key)
        if pair is not None and not (isinstance(pair.value, int) and pair.value <= self.off):
            raise RefusedError(
                f"{pair.key} is {quoted(pair.value)}: this model has {self.feature}, "
                "and how they follow a layer path is not known to this version"
            )
        yield from ()
