"""Commands that refuse to be given an option of one value twice."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from ggufsurgeon.errors import UsageError


class SingleValuesCommand(TyperCommand):
    """A command that refuses an option of one value that is given twice.

    click keeps the last value, as argparse does, and ignores the first without a message. An option
    that takes several values, or none, may be repeated.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for such an option."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, n_times in Counter(given).items():
            if n_times > 1 and _has_one_value(parameter):
                first, *others = parameter.opts
                name = f"{first} ({', '.join(others)})" if others else first
                raise UsageError(f"{name} is given {n_times} times, but takes one value")
        return super().parse_args(ctx, args)


def _has_one_value(parameter: Any) -> bool:
    is_option = parameter.param_type_name == "option"
    return is_option and not parameter.multiple and not parameter.is_flag and not parameter.count
