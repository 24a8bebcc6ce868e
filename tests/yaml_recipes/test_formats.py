"""mergekit's format and our own: what is taken, and what is refused by name."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import RefusedError, UsageError
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import BlockRef, LayerPath
from ggufsurgeon.yaml_recipes.matching import MatchedRecipe, match_models
from ggufsurgeon.yaml_recipes.reading import read_yaml_recipe
from ggufsurgeon.yaml_recipes.recipe import YamlRecipe
from tests.models.builders import ARRAY, STRING, U32, Tensor, block_tensors, gguf, llama_model, pair
from tests.models.in_memory import opened
from tests.yaml_recipes.published import DAMPED, EURYALE, PUBLISHED, XWIN


def read(text: str) -> YamlRecipe:
    return read_yaml_recipe(text.encode(), "recipe.yaml")


def matched(text: str, n_blocks: int = 8) -> MatchedRecipe:
    """The recipe over models of the same number of blocks; the first one named is the source."""
    recipe = read(text)
    model = opened(llama_model(n_blocks))
    return match_models(recipe, model, {each.name: model for each in recipe.models[1:]})


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes(name: str) -> None:
    published = PUBLISHED[name]
    found = matched(published.yaml(), published.n_source_blocks)
    assert str(found.path) == published.layers
    assert [model.name for model in found.recipe.models] == published.models
    assert found.outside == OutsideBlocks.beside(found.path)
    (note,) = found.recipe.notes
    assert (
        note == "dtype: float16 does not apply: every block keeps the quantization types of "
        "its file"
    )


@pytest.mark.parametrize("name", DAMPED)
def test_published_forms_of_damped_recipes(name: str) -> None:
    damped = DAMPED[name]
    found = matched(damped.yaml(), damped.n_source_blocks)
    assert str(found.path) == damped.layers
    assert [model.name for model in found.recipe.models] == damped.models


def test_any_model_of_a_recipe_can_be_the_source() -> None:
    model = opened(llama_model(80))
    recipe = read(PUBLISHED["goliath-120b"].yaml())
    found = match_models(recipe, model, {XWIN: model})
    assert str(found.path).startswith("1:0..15,8..23,1:17..31")
    assert found.outside == OutsideBlocks(1, 1, 1)
    for others, says in (
        ({}, f"Give files for all but one of '{XWIN}', '{EURYALE}'"),
        ({XWIN: model, EURYALE: model}, "Leave out the file of one of them"),
    ):
        with pytest.raises(UsageError) as error:
            match_models(recipe, model, others)
        assert says in error.value.hint
    with pytest.raises(UsageError, match="names no model 'Xwin'; its models: 'Xwin-LM/Xwin"):
        match_models(recipe, model, {"Xwin": model})


MODELS = ("alpha", "beta", "org/gamma")
steps = st.builds(
    BlockRef,
    st.integers(0, len(MODELS) - 1),
    st.integers(0, 7),
    st.sampled_from([1.0, 1.0, 0.5, 0.0, 1 / 3]),
    st.sampled_from([(), (), (("attn_q", 0.5), ("ffn_down", 0.25))]),
)


@given(
    st.lists(steps, min_size=1, max_size=30).filter(lambda found: any(s.strength for s in found)),
    st.tuples(*[st.none() | st.integers(0, 2)] * 3),
    st.booleans(),
)
def test_our_own_recipes_read_back(
    found: list[BlockRef], parts: tuple[int | None, ...], in_a_list: bool
) -> None:
    path = LayerPath(found)
    ranges = [str(LayerPath([step])) for step in path.steps]
    ranges = [
        f"{MODELS[s.source]}:{r.split(':')[-1]}" for s, r in zip(path.steps, ranges, strict=True)
    ]
    layers = f"[{', '.join(ranges)}]" if in_a_list else f"'{', '.join(ranges)}'"
    defaults = (found[0].source, found[-1].source, found[0].source)
    sides = [d if part is None else part for part, d in zip(parts, defaults, strict=True)]
    used = list(dict.fromkeys((*(step.source for step in found), *sides)))
    named = zip(("embeddings", "output", "tokenizer"), parts, strict=True)
    text = "\n".join(
        (
            f"sources: {{{', '.join(f'{MODELS[n]}: ' for n in used)}}}",
            f"layers: {layers}",
            *(f"{key}: {MODELS[part]}" for key, part in named if part is not None),
        )
    )
    read_back = matched(text)
    index_of = {model: n for n, model in enumerate(used)}
    assert read_back.path == LayerPath(
        step.at(index_of[step.source], step.block) for step in path.steps
    )
    assert read_back.outside == OutsideBlocks(*(index_of[side] for side in sides))


def test_the_shortest_recipe() -> None:
    found = matched("layers: 0..5,3..7\n")
    assert (str(found.path), found.outside) == ("0..5,3..7", OutsideBlocks())
    with_hash = read(f"sources: {{a: {{sha256: {'AB' * 32}}}}}\nlayers: a:0..7\nname: Duet 1\n")
    assert (with_hash.models[0].sha256, with_hash.name) == ("ab" * 32, "Duet 1")


ONE = "model: m, layer_range: [0, 4]"
HEAD = "merge_method: passthrough\n"
SLICES = f"{HEAD}slices:\n  - sources: [{{{ONE}}}]\n"
TWO = f"{SLICES}  - sources: [{{{ONE.replace('m,', 'n,')}}}]\n"
REFUSED = {
    "slerp": ("merge_method: slerp\nslices: []\n", "'slerp' mixes weights"),
    "weight": (f"{SLICES}parameters: {{weight: 0.5}}\n", "weight mixes weights"),
    "t": (f"{HEAD}slices: [{{sources: [{{{ONE}}}], parameters: {{t: 0.5}}}}]", "t mixes weights"),
    "two models": (f"{HEAD}slices: [{{sources: [{{{ONE}}}, {{{ONE}}}]}}]\n", "takes one model"),
    "models": (f"{HEAD}models: [{{model: a}}, {{model: b}}]\n", "takes one model"),
    "models with a base": (f"{HEAD}models: [{{model: a}}]\nbase_model: b\n", "takes one model"),
    "LoRA": (f"{HEAD}models: [{{model: a+b}}]\n", "'a+b' is a model with a LoRA adapter"),
    "LoRA in a table": (
        f"{HEAD}models: [{{model: {{model: {{path: a}}, lora: b}}}}]\n",
        "a LoRA adapter would be mixed into the model",
    ),
    "modules": (f"{HEAD}modules: {{}}\n", "modules are for models of several parts"),
    "residual": (
        f"{HEAD}slices: [{{sources: [{{{ONE}}}], residual_weight: 0.1}}]\n",
        "residual_weight mixes weights",
    ),
    "chat template": (f"{SLICES}chat_template: chatml\n", "the chat template comes with"),
    "tokens": (f"{SLICES}tokenizer: {{tokens: {{a: b}}}}\n", "embeddings of single tokens"),
    "no mixing by itself": (
        f"{SLICES}parameters: {{int8_mask: true}}\n",
        "int8_mask is for methods that mix weights",
    ),
    "embeddings": (f"{SLICES}parameters: {{scale: 0.5}}\n", "multiplies model.embed_tokens.weight"),
    "head": (
        f"{SLICES}parameters: {{scale: [{{filter: lm_head, value: 0.5}}]}}\n",
        "scale multiplies lm_head.weight too",
    ),
}
WRONG = {
    "neither": ("name: a\n", "there is neither layers nor merge_method"),
    "both": (f"{SLICES}models: [{{model: a}}]\n", "expected one of slices and models"),
    "none": (HEAD, "expected one of slices and models"),
    "unknown key": (f"{SLICES}slice: 3\n", "line 4: the key 'slice' is unknown"),
    "unknown key within": (
        f"{HEAD}slices:\n  - sources:\n    - {{{ONE}, revision: v0}}\n",
        "line 4: the key 'revision' is unknown",
    ),
    "empty range": (
        SLICES.replace("0, 4", "4, 4"),
        "slices[0].sources[0].layer_range: [4, 4] hold",
    ),
    "backwards": (SLICES.replace("0, 4", "4, 0"), "[4, 0] holds no block"),
    "negative": (SLICES.replace("0, 4", "0, -1"), "expected a whole number from 0; '-1' is none"),
    "three numbers": (SLICES.replace("0, 4", "0, 4, 8"), "expected two numbers"),
    "no list": (SLICES.replace("[0, 4]", "'0, 4'"), "expected a list; '0, 4' is none"),
    "too large": (SLICES.replace("4]", f"{'9' * 26}]"), f"'{'9' * 26}' is too large"),
    "octal": (SLICES.replace("0, 4", "0, 010"), "'010' is none"),
    "no model": (SLICES.replace("model: m, ", ""), "expected model and layer_range"),
    "no base": (f"{SLICES}tokenizer_source: base\n", "tokenizer of base_model, which is missing"),
    "two tokenizers": (
        f"{SLICES}tokenizer_source: m\ntokenizer: {{source: m}}\n",
        "tokenizer_source and tokenizer exclude each other",
    ),
    "scale": (f"{SLICES}parameters: {{scale: high}}\n", "expected a number; 'high' is none"),
    "no value": (f"{SLICES}parameters: {{scale: {{filter: a}}}}\n", "scale: expected a value"),
    "huge slices": (
        f"{HEAD}slices: [{{sources: [{{model: m, layer_range: [0, 99999999]}}]}}]\n",
        "more than 10000 blocks",
    ),
    "beyond": (
        SLICES.replace("0, 4", "5, 9"),
        "layer_range: blocks 5 to 8 of 'm', and memory has 8 blocks, 0 to 7",
    ),
    "beyond in ours": ("layers: 0..8\n", "layers: blocks 0 to 8 of 'the source', and memory has 8"),
    "negative strength": (
        f"{HEAD}models: [{{model: m, parameters: {{scale: [{{filter: o_proj, value: -1}}, "
        "{filter: down_proj, value: -1}]}}]\n",
        "line 2: models[0].parameters.scale[0]: a factor of -1.0: expected a number that is 0",
    ),
    "negative factor": (
        f"{HEAD}models:\n- model: m\n  parameters:\n    scale:\n    - filter: o_proj\n"
        "      value: 1\n    - filter: q_proj\n      value: -0.5\n",
        "line 8: models[0].parameters.scale[1]: a factor of -0.5: expected a number that is",
    ),
    "half-open in ours": ("layers: 3:5\n", "and the recipe names no sources"),
    "no such source": ("sources: {a: }\nlayers: b:0..3\n", "'b' is none of the sources: 'a'"),
    "of which model": ("sources: {a: , b: }\nlayers: 0..3\n", "does not say of which model"),
    "part": ("layers: 0..3\noutput: b\n", "output: 'b' is no source"),
    "hash": ("sources: {a: {sha256: 12}}\nlayers: a:0\n", "the 64 hexadecimal digits"),
    "name of a source": ("sources: {'a b': }\nlayers: 0\n", "'a b' is no name of a source"),
    "no sources": ("sources: {}\nlayers: 0\n", "sources: expected names of models"),
    "unused source": ("sources: {a: , b: }\nlayers: a:0..3\n", "nothing comes from 'b'"),
    "a slip of the pen": ("layers: 0\nmtp: nonne\n", "'nonne' is no source: the recipe names none"),
    "no such MTP blocks": ("layers: 0\nmtp: b\n", "mtp: 'b' is no source"),
    "own MTP blocks": (
        "sources: {a: }\nlayers: a:0\nmtp: a\n",
        "'a' gives other parts too, and its own",
    ),
    "size": ("sources: {a: {n_bytes: -1}}\nlayers: a:0\n", "expected a number of bytes"),
    "number": ("sources: {a: {number: 1000}}\nlayers: a:0\n", "expected a number below 1000"),
    "number alone": ("sources: {a: {number: 0}}\nlayers: a:0\n", "are for a recipe with result"),
    "made alone": ("layers: 0\nmade: by ggufsurgeon 1\n", "made: expected result too"),
    "result alone": ("layers: 0\nresult: {n_bytes: 1}\n", "expected made beside result"),
    "no layers": ("layers:\n", "layers: expected a text; there is none"),
    "an empty list": (f"{HEAD}slices: []\n", "slices: the list is empty"),
    "capitals": ("merge_method: Passthrough\n", "'Passthrough' is not a known merge method"),
    "strength": (
        "sources: {a: }\nlayers: a:0..3*nan\n",
        "recipe.yaml, line 2: layers: 'a:0..3*nan': 'nan' is no strength",
    ),
    "many blocks": ("layers: [0..9999, 0]\n", "layers: more than 10000 blocks"),
    "no name": ("layers: 1:0..3\n", "line 1: layers: '1:0..3' has a name before its colon"),
    "ranges": ("layers: 0..3,x\n", "'x' is not a range"),
    "unknown key in ours": ("layers: 0\nlayer: 1\n", "line 2: the key 'layer' is unknown"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_mixes_or_has_no_meaning_is_refused_by_name(name: str) -> None:
    text, says = REFUSED[name]
    with pytest.raises(RefusedError, match=re.escape(says)) as error:
        matched(text)
    assert str(error.value).startswith("recipe.yaml, line ")


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told_with_its_place(name: str) -> None:
    text, says = WRONG[name]
    with pytest.raises(UsageError, match=re.escape(says)) as error:
        matched(text)
    assert str(error.value).startswith("recipe.yaml, line ")


def test_methods_that_mix_are_refused_with_the_tool_that_has_them() -> None:
    for method in ("linear", "slerp", "ties", "dare_ties", "task_arithmetic", "model_stock"):
        with pytest.raises(RefusedError, match=f"'{method}' mixes weights.*mergekit"):
            read(f"merge_method: {method}\nmodels: []\n")


@pytest.mark.parametrize("method", ["passthroug", "Passthrough", "new", "TIES"])
def test_an_unknown_method_is_not_said_to_mix(method: str) -> None:
    with pytest.raises(UsageError, match=f"'{method}' is not a known merge method") as error:
        read(SLICES.replace("passthrough", method))
    assert "only supported method is passthrough" in error.value.hint


@pytest.mark.parametrize(
    "nulls",
    [
        "base_model: null\n",
        "tokenizer: ~\nmodules: null\nchat_template: null\n",
        "dtype: null\nout_dtype: null\nparameters: null\nname: null\n",
    ],
)
def test_a_null_is_the_same_as_no_key(nulls: str) -> None:
    """mergekit 0.1.5 has None for its optional keys (mergekit/config.py)."""
    assert read(SLICES + nulls) == read(SLICES)
    assert read(f"{SLICES}models:\n{nulls}") == read(SLICES)
    within = ONE.replace("model: m", "model: {path: m, revision: null, lora: null}")
    of_slice = "parameters: null, residual_weight: null, base_model: null"
    slices = f"{HEAD}slices:\n  - {{sources: [{{{within}}}], {of_slice}}}\n"
    assert read(slices) == read(SLICES)


def test_the_old_form_of_a_tokenizer_of_a_model() -> None:
    old, new = (matched(f"{TWO}tokenizer_source: {name}\n") for name in ("model:n", "n"))
    assert old.outside == new.outside == OutsideBlocks(0, 1, 1)


def test_constants_of_published_recipes_are_not_unknown_keys() -> None:
    text = f"const_tag: &M m\nconst_tag: &N [0, 4]\n{HEAD}slices: [{{sources: [{{model: *M, "
    found = matched(f"{text}layer_range: *N}}]}}]\n")
    assert (str(found.path), found.recipe.models[0].name) == ("0..3", "m")
    with pytest.raises(UsageError, match="line 1: the key 'const_tag' is unknown"):
        matched(f"const_tag: &M m\n{SLICES}")


def scaled(*levels: str, n_blocks: int = 4) -> str:
    """The layer path of one slice, whose `scale` is given for the source, slice and recipe."""
    source, of_slice, of_all = (f"{{scale: {level}}}" if level else "{}" for level in levels)
    return (
        f"{HEAD}parameters: {of_all}\nslices:\n  - parameters: {of_slice}\n    sources:\n"
        f"    - {{model: m, layer_range: [0, {n_blocks}], parameters: {source}}}\n"
    )


def filters(value: str, *names: str) -> str:
    return ", ".join(f"{{filter: {name}, value: {value}}}" for name in names)


BOTH = ("o_proj", "down_proj")
STRENGTHS = {
    "a strength": ((f"[{filters('0.5', *BOTH)}, {{value: 1.0}}]", "", ""), "0..3*0.5"),
    "of the slice": (("", f"[{filters('0.5', *BOTH)}]", ""), "0..3*0.5"),
    "of the recipe": (("", "", f"[{filters('5e-1', *BOTH)}]"), "0..3*0.5"),
    "the first of two that fit": (
        (f"[{filters('0.5', *BOTH)}, {filters('2', *BOTH)}]", "", ""),
        "0..3*0.5",
    ),
    "the innermost": ((f"[{filters('0.5', *BOTH)}]", f"[{filters('2', *BOTH)}]", ""), "0..3*0.5"),
    "none fits: the next level": (
        (f"[{filters('3', 'conv')}]", "", f"[{filters('2', *BOTH)}]"),
        "0..3*2",
    ),
    "1 for all": (("1.0", "", f"[{filters('2', *BOTH)}]"), "0..3"),
    "left out": ((f"[{filters('0.0', *BOTH)}, {{filter: '*', value: 1}}]", "", ""), "0..3*0"),
    "of some blocks": (
        (f"[{filters('0.5', 'layers.2.self_attn.o_proj', 'layers.2.mlp.down_proj')}]", "", ""),
        "0..1,2*0.5,3",
    ),
    "one filter": ((filters("1", "o_proj"), "", ""), "0..3"),
    "one of two": ((f"[{filters('0.5', 'o_proj')}]", "", ""), "0..3*attn_output=0.5"),
    "unequal": (
        (f"[{filters('0.5', 'o_proj')}, {filters('0.25', 'down_proj')}]", "", ""),
        "0..3*attn_output=0.5*ffn_down=0.25",
    ),
    "queries and keys": (
        (f"[{filters('0.84', 'q_proj', 'k_proj')}, {{value: 1.0}}]", "", ""),
        "0..3*attn_q=0.84*attn_k=0.84",
    ),
    "all four": (
        (
            f"[{filters('0.5', *BOTH)}, {filters('0.84', 'q_proj')}, {filters('2', 'k_proj')}]",
            "",
            "",
        ),
        "0..3*0.5*attn_q=0.84*attn_k=2",
    ),
    "of two levels": (
        (f"[{filters('0.84', 'q_proj')}]", "", f"[{filters('0.5', 'down_proj', 'q_proj')}]"),
        "0..3*attn_q=0.84*ffn_down=0.5",
    ),
}


@pytest.mark.parametrize("name", STRENGTHS)
def test_scales_that_are_strengths(name: str) -> None:
    levels, expected = STRENGTHS[name]
    assert str(matched(scaled(*levels)).path) == expected


def test_a_list_of_numbers_is_interpolated_along_the_slice() -> None:
    found = matched(scaled(f"[{filters('[0, 1, 0.5]', *BOTH)}]", "", "", n_blocks=5))
    assert found.path.strengths == (0.0, 0.5, 1.0, 0.75, 0.5)
    (only,) = matched(scaled(f"[{filters('[0, 0.25]', *BOTH)}]", "", "", n_blocks=1)).path.steps
    assert only.strength == 0.25


NO_FACTORS = {
    "values": (
        (f"[{filters('0.84', 'q_proj', 'v_proj')}, {{value: 1.0}}]", "", ""),
        "scale multiplies self_attn.v_proj.weight by 0.84 in block 0, which cannot have a factor",
    ),
    "gates": ((f"[{filters('0.5', 'mlp')}]", "", ""), "multiplies mlp.gate_proj.weight by 0.5 in"),
    "norms": ((f"[{filters('2', 'layernorm')}]", "", ""), "input_layernorm.weight by 2 in block 0"),
    "all": (("[{filter: layers, value: 0.5}]", "", ""), "self_attn.v_proj.weight by 0.5"),
}


@pytest.mark.parametrize("name", NO_FACTORS)
def test_scales_of_weights_that_can_have_none_are_refused_by_name(name: str) -> None:
    levels, says = NO_FACTORS[name]
    with pytest.raises(RefusedError, match=re.escape(says)) as error:
        matched(scaled(*levels))
    assert "mergekit" in error.value.hint


N_EXPERTS = 3


def of_architecture(architecture: str, *names: str) -> GgufFile:
    """A model of one block with these weights, and biases."""
    pairs = [
        pair("general.architecture", STRING, architecture),
        pair(f"{architecture}.block_count", U32, 1),
    ]
    tensors = [
        Tensor(f"blk.0.{n}", (8, 1, N_EXPERTS), bytes(32 * N_EXPERTS))
        if "exps" in n
        else Tensor(f"blk.0.{n}")
        for n in ("attn_norm.weight", *names)
    ]
    return opened(gguf(pairs, tensors))


def with_scale(model: GgufFile, *conditions: str) -> str:
    """The layer path of one block of a model with a `scale`."""
    recipe = read(scaled(f"[{', '.join(conditions)}]", "", "", n_blocks=1))
    return str(match_models(recipe, model, {}).path)


def test_a_filter_finds_biases_too() -> None:
    """mergekit looks for a filter in `self_attn.q_proj.bias` as well."""
    model = of_architecture("qwen2", "attn_q.weight", "attn_q.bias")
    assert with_scale(model, filters("0.5", "q_proj")) == "0*attn_q=0.5"
    says = "self_attn.q_proj.weight by 0.5, and self_attn.q_proj.bias by 1, in block 0, which a"
    with pytest.raises(RefusedError, match=re.escape(says)):
        with_scale(model, filters("0.5", "q_proj.weight"))
    with pytest.raises(RefusedError, match=r"multiplies self_attn\.v_proj\.bias by 3 in block 0"):
        with_scale(of_architecture("qwen2", "attn_v.bias"), filters("3", "v_proj.bias"))


def test_experts_are_found_by_the_names_of_their_architecture() -> None:
    """Those of Mixtral are called w1, w2 and w3, so that down_proj finds none of them."""
    qwen = of_architecture("qwen3moe", "ffn_down_exps.weight")
    assert with_scale(qwen, filters("0.5", *BOTH)) == "0*0.5"
    with pytest.raises(
        RefusedError, match=r"experts\.1\.down_proj\.weight by 0\.5, and .*by 1, in"
    ):
        with_scale(qwen, filters("0.5", "experts.1.down_proj"))
    mixtral = of_architecture("llama", "ffn_down_exps.weight")
    assert with_scale(mixtral, filters("0.5", *BOTH)) == "0*attn_output=0.5"
    assert with_scale(mixtral, filters("0.5", "o_proj", "w2")) == "0*0.5"
    with pytest.raises(RefusedError, match=r"block_sparse_moe\.experts\.0\.w1\.weight by 2"):
        with_scale(mixtral, filters("2", "experts"))


@pytest.mark.parametrize(
    ("conditions", "architecture", "idle"),
    [
        (filters("0.5", "q_porj", "k_proj"), "llama", ["q_porj"]),
        (filters("0.5", "w2", "down_proj"), "llama", ["w2"]),
        (filters("0.5", "w2", "o_proj"), "mixtral", []),
        (filters("0.5", "down_proj", "o_proj"), "mixtral", ["down_proj"]),
        (filters("1", "q_porj"), "llama", []),
        (filters("0.5", "layers.0.self_attn.o_proj", "layers.0.mlp.down_proj"), "llama", []),
        ("{filter: '*', value: 1}, {value: 0.5}", "llama", []),
    ],
)
def test_a_filter_that_is_in_no_name_is_noted(
    conditions: str, architecture: str, idle: list[str]
) -> None:
    experts = ("ffn_down_exps.weight",) if architecture == "mixtral" else ()
    model = of_architecture("llama", *experts)
    found = match_models(read(scaled("", "", f"[{conditions}]", n_blocks=1)), model, {})
    assert [note.split("the filter '")[1].split("'")[0] for note in found.notes] == idle
    assert all(note.startswith("recipe.yaml, line ") for note in found.notes)


def test_names_of_weights_are_known_for_some_architectures_alone() -> None:
    data = gguf(
        [pair("general.architecture", STRING, "gpt2"), pair("gpt2.block_count", U32, 4)],
        block_tensors(4),
    )
    recipe = read(scaled(f"[{filters('0.5', *BOTH)}]", "", ""))
    with pytest.raises(RefusedError, match="not known for the architecture 'gpt2'"):
        match_models(recipe, opened(data), {})
    plain = read(scaled("1.0", "", ""))
    assert str(match_models(plain, opened(data), {}).path) == "0..3"


def with_words(*words: str) -> bytes:
    return llama_model(8, pair("tokenizer.ggml.tokens", ARRAY, (STRING, list(words))))


@pytest.mark.parametrize(
    "asked", ["tokenizer_source: union", "tokenizer: {source: union}", "tokenizer: {}"]
)
def test_a_union_of_vocabularies_is_that_of_each_or_refused(asked: str) -> None:
    recipe = read(f"{TWO}{asked}\n")
    same, other = opened(with_words("a", "b")), opened(with_words("a", "c"))
    assert match_models(recipe, same, {"n": same}).outside.tokenizer == 0
    with pytest.raises(RefusedError, match="'m' and 'n' have different ones"):
        match_models(recipe, same, {"n": other})


def test_the_tokenizer_comes_from_the_model_that_is_named() -> None:
    for more, expected in (
        ("", (0, 1, 0)),
        ("base_model: n", (0, 1, 1)),
        ("base_model: n\ntokenizer_source: base", (0, 1, 1)),
        ("base_model: n\ntokenizer_source: m", (0, 1, 0)),
        ("tokenizer: {source: n}", (0, 1, 1)),
        ("tokenizer_source: other", (0, 1, 2)),
        ("tokenizer_source: {model: {path: n}}", (0, 1, 1)),
        ("tokenizer_source: {model: {path: n, revision: v1}}", (0, 1, 2)),
    ):
        assert matched(f"{TWO}{more}\n").outside == OutsideBlocks(*expected), more
