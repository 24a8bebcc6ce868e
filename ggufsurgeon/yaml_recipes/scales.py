"""mergekit's parameter `scale`, which multiplies weights, as strengths of blocks where it is one.

A value can be a number, a list of numbers that is interpolated along a slice, or a list of values
with filters: the first whose filter is in the name of a tensor counts, and where none is, the
setting of the next level: source, slice, whole recipe. A tensor without a value is as it is
(mergekit 0.1.5: `evaluate_setting` and `ConfigReader.parameter_sources` in mergekit/config.py,
mergekit/parameter_resolver.py, mergekit/merge_methods/passthrough.py).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.header import Header
from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.layer_path.strengths import FULL
from ggufsurgeon.yaml_recipes.fields import Field

OUTPUTS = ("self_attn.o_proj", "mlp.down_proj", "mlp.experts.down_proj")
"""Weights whose products a block adds to the residual stream."""
_ATTENTION = ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj")
_NORMS = ("input_layernorm", "post_attention_layernorm", "self_attn.q_norm", "self_attn.k_norm")
_FFN = ("mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
_EXPERTS = ("mlp.gate", "mlp.experts.gate_up_proj", "mlp.experts.down_proj")
NAMED_SO = ("cohere2", "llama", "mistral3", "qwen3", "qwen3moe")
"""Architectures whose checkpoints have weights of these names (mergekit 0.1.5, llama.json and its
like in mergekit/_data/architectures), and whose blocks can have strengths."""
BEFORE_BLOCKS = ("model.embed_tokens.weight",)
BEHIND_BLOCKS = ("model.norm.weight", "lm_head.weight")
HINT = (
    "The same value with the filters o_proj and down_proj, and 1 for all other tensors, is a "
    "strength. mergekit can multiply the weights of a 16-bit checkpoint by any."
)


@dataclass(frozen=True)
class Condition:
    """A value, or several along a slice, for tensors with the filter in their names."""

    filter: str | None
    """None for all tensors."""
    values: tuple[float, ...]

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
        for condition in self.conditions:
            wanted = condition.filter
            if wanted is None or wanted == "*" or wanted in tensor:
                return condition.at(t)
        return None


def read_setting(field: Field) -> Setting:
    """The setting in a value of `scale`. Raises UsageError for another value."""
    if field.is_text:
        return Setting(field, (Condition(None, (field.number(),)),))
    if field.is_table:
        return Setting(field, (_condition(field),))
    items = field.items()
    if items[0].is_text:
        return Setting(field, (Condition(None, tuple(item.number() for item in items)),))
    return Setting(field, tuple(map(_condition, items)))


def _condition(field: Field) -> Condition:
    entries = field.table(("filter", "value"))
    if "value" not in entries:
        raise field.error("expected a value")
    value, wanted = entries["value"], entries.get("filter")
    values = (value,) if value.is_text else value.items()
    name = None if wanted is None or wanted.is_null else wanted.text()
    return Condition(name, tuple(item.number() for item in values))


def strength_of_block(
    settings: Sequence[Setting], header: Header, block: int, position: int, length: int
) -> float:
    """The strength that settings, from the innermost level on, give to a block of a slice.

    `position` is that of the block in its slice of `length` blocks. Raises RefusedError where the
    factors of its weights are not those of a strength.
    """
    t = position / (length - 1) if length > 1 else 1.0
    factors = {name: _factor(settings, name, block, t) for name in _names(header)}
    if all(factor == FULL for factor in factors.values()):
        return FULL
    place = settings[0].field
    if header.architecture not in NAMED_SO:
        raise place.refusal(
            f"scale multiplies weights by their names in a checkpoint, which are not known for "
            f"the architecture {quoted(header.architecture)}",
            hint=f"They are known for {', '.join(NAMED_SO)}.",
        )
    strengths = {factors[name] for name in factors if name in OUTPUTS}
    others = [name for name in factors if name not in OUTPUTS and factors[name] != FULL]
    if others or len(strengths) > 1:
        shown = others[:4] or [
            f"{name} by {factors[name]:g}" for name in factors if name in OUTPUTS
        ]
        raise place.refusal(
            f"scale multiplies {', '.join(shown)} in block {block}, and a GGUF can hold exactly "
            f"only one factor, that of everything that a block adds",
            hint=HINT,
        )
    return strengths.pop()


def _factor(settings: Sequence[Setting], weight: str, block: int, t: float) -> float:
    return _value(settings, f"model.layers.{block}.{weight}.weight", t)


def _value(settings: Sequence[Setting], tensor: str, t: float) -> float:
    found = (setting.of(tensor, t) for setting in settings)
    return next((value for value in found if value is not None), FULL)


def _names(header: Header) -> Iterator[str]:
    """The weights of a block; all that there are in any architecture where it is not known."""
    if header.architecture not in NAMED_SO:
        yield from (*_ATTENTION, *_NORMS, *_FFN, *_EXPERTS)
        return
    has_experts = any("_exps." in tensor.name for tensor in header.tensors)
    yield from (*_ATTENTION, *_NORMS, *(_EXPERTS if has_experts else _FFN))


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
