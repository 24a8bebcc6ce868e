"""Options of a request that llama-cpp-python takes as objects of its own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ggufsurgeon.engine.installation.library import llama_cpp


def as_native(llama: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments with a grammar, a least number of tokens and biases of words as objects.

    Raises ValueError for a grammar that cannot be read, and for a bias of no token.
    """
    llama_cpp()
    from llama_cpp import LlamaGrammar, LogitsProcessorList, MinTokensLogitsProcessor

    native = dict(arguments)
    if native.get("grammar"):
        _check_grammar(llama, native["grammar"])
        native["grammar"] = LlamaGrammar.from_string(native["grammar"], verbose=False)
    n_least = native.pop("min_tokens", 0)
    if n_least:
        processor = MinTokensLogitsProcessor(n_least, llama.token_eos())
        native["logits_processor"] = LogitsProcessorList([processor])
    if native.pop("logit_bias_type", None) == "tokens" and native.get("logit_bias"):
        native["logit_bias"] = _biases_by_id(llama, native["logit_bias"])
    for token in native.get("logit_bias") or ():
        if not str(token).isdecimal() or int(token) >= llama.n_vocab():
            raise ValueError(f"logit_bias: the model has no token {token}")
    return native


def _check_grammar(llama: Any, grammar: str) -> None:
    """Raise ValueError for a grammar that llama.cpp cannot read.

    llama-cpp-python would use the null that llama.cpp then returns, and crash (include/llama.h,
    `llama_sampler_init_grammar`).
    """
    lib = llama_cpp()
    sampler = lib.llama_sampler_init_grammar(llama._model.vocab, grammar.encode(), b"root")
    if not sampler:
        raise ValueError("the grammar cannot be read: expected GBNF with a rule root")
    lib.llama_sampler_free(sampler)


def _biases_by_id(llama: Any, biases: Mapping[str, float]) -> dict[str, float]:
    return {
        str(token): bias
        for text, bias in biases.items()
        for token in llama.tokenize(text.encode(), add_bos=False, special=True)
    }
