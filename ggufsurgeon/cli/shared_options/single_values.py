"""Commands that refuse a second value for an option that names a file or gives the layer path."""

from __future__ import annotations

from collections import Counter
from typing import Any

from typer.core import TyperCommand

from ggufsurgeon.cli.shared_options.options import LAYER_PATH
from ggufsurgeon.errors import UsageError

_INPUTS = ("FILE", "FOLDER", "LAYERS", "MODEL", "STORE")
"""Names of values, in the help, that are files or layer paths."""


class SingleValuesCommand(TyperCommand):
    """A command that refuses a second file, or a second layer path, for an option of one value.

    click keeps the last value, and would ignore the first file without a message. Of a number such
    as `--ctx`, the last value counts, as in llama.cpp, so that it can override an earlier one in an
    alias or a script.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the arguments. Raises UsageError for such an option."""
        _, _, given = self.make_parser(ctx).parse_args(args=list(args))
        for parameter, n_times in Counter(given).items():
            if n_times > 1 and _is_one_input(parameter):
                first, *others = parameter.opts
                name = f"{first} ({', '.join(others)})" if others else first
                raise UsageError(f"{name} is given {n_times} times, but takes one value")
        return super().parse_args(ctx, args)


def _is_one_input(parameter: Any) -> bool:
    """Whether a parameter is an option whose one value is a file or a part of a layer path."""
    is_option = parameter.param_type_name == "option"
    if not is_option or parameter.multiple or parameter.is_flag or parameter.count:
        return False
    return parameter.metavar in _INPUTS or parameter.rich_help_panel == LAYER_PATH
