"""mergekit's parameter `scale`, which multiplies weights, as strengths and factors where it can be.

A value can be a number, a list of numbers that is interpolated along a slice, or a list of values
with filters: the first whose filter is in the name of a tensor counts, and where none is, the
setting of the next level: source, slice, whole recipe. A tensor without a value is as it is
(mergekit 0.1.5: `evaluate_setting` and `ConfigReader.parameter_sources` in mergekit/config.py,
mergekit/parameter_resolver.py, mergekit/merge_methods/passthrough.py).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.factors import FACTOR_NAMES, Factors, factors_of
from ggufsurgeon.layer_path.strengths import FULL, strength_of
from ggufsurgeon.rules.strengths import FACTOR_OF
from ggufsurgeon.yaml_recipes.checkpoint_names import NAMED_SO, CheckpointNames
from ggufsurgeon.yaml_recipes.fields import Field

BEFORE_BLOCKS = ("model.embed_tokens.weight",)
BEHIND_BLOCKS = ("model.norm.weight", "lm_head.weight")
MOST_SHOWN = 4
HINT = (
    "A file can hold factors of q_proj, k_proj, o_proj and down_proj alone. "
    "mergekit can multiply any weights of a 16-bit checkpoint."
)


@dataclass(frozen=True)
class Condition:
    """A value, or several along a slice, for tensors with the filter in their names."""

    field: Field
    """Where it stands in the recipe."""
    filter: str | None
    """None for all tensors."""
    values: tuple[float, ...]

    def fits(self, tensor: str) -> bool:
        """Whether it is for a tensor of a checkpoint."""
        return self.filter is None or self.filter == "*" or self.filter in tensor

    def at(self, t: float) -> float:
        """The value at the relative position t of a slice, from 0 to 1."""
        scaled = t * (len(self.values) - 1)
        first = int(scaled)
        second = min(len(self.values) - 1, first + 1)
        fraction = scaled - first
        return (1 - fraction) * self.values[first] + fraction * self.values[second]


@dataclass(frozen=True)
class Setting:
    """The `scale` of one level: conditions, of which the first that fits counts."""

    field: Field
    conditions: tuple[Condition, ...]

    def of(self, tensor: str, t: float) -> float | None:
        """The value for a tensor of a checkpoint; None where no condition fits."""
        condition = self.condition_of(tensor)
        return None if condition is None else condition.at(t)

    def condition_of(self, tensor: str) -> Condition | None:
        """The first condition that fits a tensor of a checkpoint."""
        return next((each for each in self.conditions if each.fits(tensor)), None)


def read_setting(field: Field) -> Setting:
    """The setting in a value of `scale`. Raises UsageError for another value."""
    if field.is_text:
        return Setting(field, (Condition(field, None, (field.number(),)),))
    if field.is_table:
        return Setting(field, (_condition(field),))
    items = field.items()
    if items[0].is_text:
        values = tuple(item.number() for item in items)
        return Setting(field, (Condition(field, None, values),))
    return Setting(field, tuple(map(_condition, items)))


def _condition(field: Field) -> Condition:
    entries = field.table(("filter", "value"))
    if "value" not in entries:
        raise field.error("expected a value")
    value, wanted = entries["value"], entries.get("filter")
    values = (value,) if value.is_text else value.items()
    name = None if wanted is None or wanted.is_null else wanted.text()
    return Condition(field, name, tuple(item.number() for item in values))


def multipliers_of_block(
    settings: Sequence[Setting], names: CheckpointNames, block: int, position: int, length: int
) -> tuple[float, Factors]:
    """The strength and the factors that settings, from the innermost level on, give to a block.

    `position` is that of the block in its slice of `length` blocks. Equal factors of `o_proj` and
    `down_proj` are a strength. Raises RefusedError where weights are multiplied that can have no
    factor, or parts of one by different factors, and UsageError for what is no factor.
    """
    t = position / (length - 1) if length > 1 else 1.0
    weights = dict(names.of_block(block))
    values = {name: _value(settings, name, t) for name in weights}
    if all(value == FULL for value in values.values()):
        return FULL, ()
    place = settings[0].field
    if not names.are_known:
        raise place.refusal(
            f"scale multiplies weights by their names in a checkpoint, which are not known for "
            f"the architecture {quoted(names.architecture)}",
            hint=f"They are known for {', '.join(NAMED_SO)}.",
        )
    parts: dict[str, dict[str, float]] = {}
    for name, weight in weights.items():
        parts.setdefault(FACTOR_OF.get(weight, weight), {})[name] = values[name]
    for weight, found in parts.items():
        _check_factor(place, weight, found, block)
        _check_numbers(settings, found)
    factors = {weight: next(iter(parts[weight].values())) for weight in FACTOR_NAMES}
    if factors["attn_output"] != factors["ffn_down"]:
        return FULL, factors_of(factors)
    strength = factors.pop("attn_output")
    return strength, factors_of({**factors, "ffn_down": FULL})


def _check_factor(place: Field, weight: str, found: Mapping[str, float], block: int) -> None:
    """Raise RefusedError where a weight can have no factor, or its parts have different ones."""
    shown = _shown({name: value for name, value in found.items() if value != FULL})
    if weight not in FACTOR_NAMES and shown:
        problem = f"scale multiplies {shown} in block {block}, which cannot have a factor in a file"
        raise place.refusal(problem, hint=HINT)
    if len(set(found.values())) > 1:
        rest = _shown({name: value for name, value in found.items() if value == FULL})
        raise place.refusal(
            f"scale multiplies {shown}{f', and {rest},' if rest else ''} in block {block}, which "
            "a file can only multiply by the same factor",
            hint=HINT,
        )


def _check_numbers(settings: Sequence[Setting], found: Mapping[str, float]) -> None:
    """Raise UsageError, with the place of the value, where a number is no factor."""
    for tensor, value in found.items():
        try:
            strength_of(value, "factor")
        except UsageError as error:
            fitting = (setting.condition_of(tensor) for setting in settings)
            place = next(condition.field for condition in fitting if condition is not None)
            raise place.error(str(error), hint=error.hint) from None


def idle_filters(
    levels: Iterable[tuple[Sequence[Setting], CheckpointNames, Sequence[int]]],
) -> list[Condition]:
    """Conditions whose filter is in the name of no weight of the blocks that they are for, unless
    their value multiplies nothing anyway.

    `levels` are the settings of each slice with its blocks.
    """
    found: dict[str, tuple[Condition, bool]] = {}
    for settings, names, blocks in levels:
        tensors = [name for block in blocks for name, _ in names.of_block(block)]
        for condition in (each for setting in settings for each in setting.conditions):
            _, fits = found.get(condition.field.place, (condition, False))
            fits = fits or any(map(condition.fits, tensors))
            found[condition.field.place] = condition, fits
    return [
        condition
        for condition, fits in found.values()
        if not fits and any(value != FULL for value in condition.values)
    ]


def _shown(values: Mapping[str, float]) -> str:
    """Tensors of a checkpoint with their factors, for a message; the first of many."""
    shown = [f"{name.split('.', 3)[3]} by {value:g}" for name, value in values.items()]
    more = f" and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
    return ", ".join(shown[:MOST_SHOWN]) + more


def _value(settings: Sequence[Setting], tensor: str, t: float) -> float:
    found = (setting.of(tensor, t) for setting in settings)
    return next((value for value in found if value is not None), FULL)


def check_outside(settings: Sequence[Setting], tensors: Sequence[str]) -> None:
    """Raise RefusedError when settings multiply tensors of a checkpoint outside the blocks.

    There mergekit evaluates those of the first or last slice, at its beginning (mergekit 0.1.5,
    mergekit/plan.py).
    """
    for tensor in tensors:
        if _value(settings, tensor, 0.0) != FULL:
            raise settings[0].field.refusal(
                f"scale multiplies {tensor} too, which cannot be written exactly", hint=HINT
            )
