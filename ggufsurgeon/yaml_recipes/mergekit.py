"""mergekit's configuration with `merge_method: passthrough`, as it is published for models.

Its keys and their meaning are those of mergekit 0.1.5 (mergekit/config.py, mergekit/plan.py,
mergekit/common.py, mergekit/tokenizer/config.py). What mixes weights is refused by name.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from ggufsurgeon.container.quoting import quoted
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import MAX_STEPS
from ggufsurgeon.yaml_recipes.fields import Field
from ggufsurgeon.yaml_recipes.recipe import NamedModel, Slice, YamlRecipe
from ggufsurgeon.yaml_recipes.scales import (
    BEFORE_BLOCKS,
    BEHIND_BLOCKS,
    Setting,
    check_outside,
    read_setting,
)

PASSTHROUGH = "passthrough"
MIXING_METHODS = frozenset(
    (
        *("arcee_fusion", "breadcrumbs", "breadcrumbs_ties", "core_space", "dare_linear"),
        *("dare_ties", "della", "della_linear", "karcher", "linear", "lrp", "model_stock"),
        *("multislerp", "nearswap", "nuslerp", "ram", "ramplus_tl", "sce", "slerp"),
        *("task_arithmetic", "ties"),
    )
)
"""Methods that mix weights (mergekit/merge_methods, in 0.1.5 and later)."""
OLD_MODEL = "model:"
"""What stands before the name of a model in `tokenizer_source` of earlier versions, in which
tokenizers were a module (mergekit/tokenizer.py) and no package."""
MIXING = (
    "ggufsurgeon moves blocks and does not mix weights: run this recipe with mergekit, on 16-bit "
    "checkpoints, and convert and quantize the result"
)
KEYS = (
    *("merge_method", "slices", "models", "base_model", "dtype", "out_dtype"),
    *("tokenizer_source", "tokenizer", "parameters", "name"),
)
REFUSED_KEYS = {
    "modules": "modules are for models of several parts; expected slices or models",
    "chat_template": "the chat template comes with the tokenizer and is not replaced",
}
MIXING_PARAMETERS = (
    *("weight", "density", "t", "lambda", "epsilon", "gamma", "normalize", "rescale"),
    *("filter_wise", "select_topk", "nuslerp_flatten", "nuslerp_row_wise"),
)
REFUSED_PARAMETERS = {
    **{key: f"{key} mixes weights. {MIXING}" for key in MIXING_PARAMETERS},
    "int8_mask": f"int8_mask is for methods that mix weights. {MIXING}",
}
REFUSED_OF_SLICE = {
    "residual_weight": f"residual_weight mixes weights. {MIXING}",
    "base_model": "a base model of a slice is for methods that mix weights",
}
REFUSED_OF_TOKENIZER = {
    "tokens": "tokens changes embeddings of single tokens, and embeddings are copied as they are",
    "pad_to_multiple_of": "pad_to_multiple_of adds embeddings, and they are copied as they are",
}
NO_DTYPE = "{} does not apply: every block keeps the quantization types of its file"


class _Names:
    """The models of a recipe, in the order in which they are named."""

    def __init__(self) -> None:
        self.index_of: dict[str, int] = {}

    def index(self, field: Field) -> int:
        """The index of a model by its name: `org/model`, `org/model@revision` or a path.

        Raises UsageError for another value, and RefusedError for a LoRA, which mergekit would mix
        into the model.
        """
        name = _name(field)
        if "+" in name:
            raise field.refusal(f"{quoted(name)} is a model with a LoRA adapter. {MIXING}")
        return self.index_of.setdefault(name, len(self.index_of))


def _name(field: Field) -> str:
    """A name as a text, or as the table of a model or of its path."""
    if not field.is_table:
        return field.text()
    lora = {"lora": f"a LoRA adapter would be mixed into the model. {MIXING}"}
    entries = _given(field, ("model", "path", "revision"), lora)
    inner = entries.get("model", entries.get("path"))
    if inner is None:
        raise field.error("expected the name of a model")
    revision = entries.get("revision")
    return _name(inner) if revision is None else f"{_name(inner)}@{revision.text()}"


def read_mergekit(root: Field) -> YamlRecipe:
    """The recipe in a configuration of mergekit.

    Raises UsageError for what is not one, and RefusedError for what cannot be done exactly.
    """
    method = root.entries()["merge_method"]
    _check_method(method)
    keys = _given(root, KEYS, REFUSED_KEYS)
    names = _Names()
    if ("slices" in keys) == ("models" in keys):
        raise root.error("expected one of slices and models")
    of_all = _scales(keys)
    slices = tuple(_slices(keys["slices"], names, of_all) if "slices" in keys else ())
    slices = slices or (_whole_model(keys["models"], names, of_all),)
    n_steps = sum((part.end or 0) - part.first for part in slices)
    if n_steps > MAX_STEPS:
        raise root.error(f"more than {MAX_STEPS} blocks")
    _check_base(keys, names)
    first, tokenizer = slices[0].model, _tokenizer(root, keys, names)
    check_outside(slices[0].scales, BEFORE_BLOCKS)
    check_outside(slices[-1].scales, BEHIND_BLOCKS)
    return YamlRecipe(
        root.file,
        tuple(map(NamedModel, names.index_of)),
        slices,
        OutsideBlocks(first, slices[-1].model, first if tokenizer is None else tokenizer),
        _is_union(keys),
        keys["name"].model_name() if "name" in keys else None,
        tuple(_notes(keys)),
    )


def _check_method(method: Field) -> None:
    """Raise RefusedError for a method that mixes weights, and UsageError for an unknown one."""
    name = method.text()
    if name in MIXING_METHODS:
        raise method.refusal(f"{quoted(name)} mixes weights. {MIXING}")
    if name != PASSTHROUGH:
        raise method.error(
            f"{quoted(name)} is not a known merge method",
            hint=f"The only supported method is {PASSTHROUGH}, which moves blocks; the other "
            "methods of mergekit mix weights.",
        )


def _given(
    field: Field, known: Collection[str], refused: Mapping[str, str] | None = None
) -> dict[str, Field]:
    """The values of a table, without nulls: these keys are optional (mergekit/config.py)."""
    found = field.table(known, refused)
    return {key: value for key, value in found.items() if not value.is_null}


def _notes(keys: Mapping[str, Field]) -> Iterator[str]:
    for key in ("dtype", "out_dtype"):
        if key in keys:
            yield NO_DTYPE.format(f"{key}: {quoted(keys[key].text())[1:-1]}")


def _scales(keys: Mapping[str, Field]) -> tuple[Setting, ...]:
    """The `scale` among the parameters of one level; none if it is not there."""
    if "parameters" not in keys:
        return ()
    parameters = _given(keys["parameters"], ("scale",), REFUSED_PARAMETERS)
    return (read_setting(parameters["scale"]),) if "scale" in parameters else ()


def _slices(field: Field, names: _Names, of_all: tuple[Setting, ...]) -> Iterator[Slice]:
    for item in field.items():
        keys = _given(item, ("sources", "parameters"), REFUSED_OF_SLICE)
        if "sources" not in keys:
            raise item.error("expected sources")
        source = _only(keys["sources"])
        of_slice = (*_scales(keys), *of_all)
        of_source = _given(source, ("model", "layer_range", "parameters"))
        if "model" not in of_source or "layer_range" not in of_source:
            raise source.error("expected model and layer_range")
        first, end = _layer_range(of_source["layer_range"])
        scales = (*_scales(of_source), *of_slice)
        index = names.index(of_source["model"])
        yield Slice(of_source["layer_range"].place, index, first, end, scales=scales)


def _only(field: Field) -> Field:
    """The only model of a list. Raises RefusedError for several, which would be mixed."""
    items = field.items()
    if len(items) > 1:
        raise field.refusal(f"passthrough takes one model here, and these are several. {MIXING}")
    return items[0]


def _whole_model(field: Field, names: _Names, of_all: tuple[Setting, ...]) -> Slice:
    model = _only(field)
    keys = _given(model, ("model", "parameters"))
    if "model" not in keys:
        raise model.error("expected model")
    scales = (*_scales(keys), *of_all)
    return Slice(model.place, names.index(keys["model"]), 0, None, scales=scales)


def _layer_range(field: Field) -> tuple[int, int]:
    """The two numbers of a half-open range that holds a block. Raises UsageError for another."""
    ends = field.items()
    if len(ends) != 2:
        raise field.error("expected two numbers, such as [0, 16] for blocks 0 to 15")
    first, end = (item.integer() for item in ends)
    if first >= end:
        raise field.error(
            f"[{first}, {end}] holds no block: the second number is the first block after the range"
        )
    return first, end


def _check_base(keys: Mapping[str, Field], names: _Names) -> None:
    """Raise RefusedError for `models` with another base model, which mergekit would add to them."""
    if "models" in keys and "base_model" in keys:
        names.index(keys["base_model"])
        if len(names.index_of) > 1:
            raise keys["base_model"].refusal(
                f"with models, passthrough takes one model, and this is a second. {MIXING}"
            )


def _tokenizer(root: Field, keys: Mapping[str, Field], names: _Names) -> int | None:
    """The model of the tokenizer, which is the base model where no other is named.

    None where there is neither.
    """
    if "tokenizer_source" in keys and "tokenizer" in keys:
        raise root.error("tokenizer_source and tokenizer exclude each other")
    base, source = keys.get("base_model"), _tokenizer_source(keys)
    asked = source.text() if source is not None and source.is_text else ""
    if source is not None and asked not in ("base", "union"):
        return names.index(source.without_prefix(OLD_MODEL))
    if asked == "base" and base is None:
        assert source is not None
        raise source.error("base is the tokenizer of base_model, which is missing")
    return None if base is None else names.index(base)


def _tokenizer_source(keys: Mapping[str, Field]) -> Field | None:
    """What is said of the tokenizer, in either of the two ways; None where nothing is."""
    source = keys.get("tokenizer_source")
    if "tokenizer" in keys:
        source = _given(keys["tokenizer"], ("source",), REFUSED_OF_TOKENIZER).get("source")
    return source


def _is_union(keys: Mapping[str, Field]) -> bool:
    """Whether the vocabularies of all models are to be joined.

    That is so without a source in `tokenizer` too (mergekit/tokenizer/config.py).
    """
    source = _tokenizer_source(keys)
    if source is None:
        return "tokenizer" in keys
    return source.is_text and source.text() == "union"
