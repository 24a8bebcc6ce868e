"""Files of up to a megabyte that take long to process; fuzzing uses small files.

Each would cost hours or gigabytes where work grows with the square of what is in a file, or with a
number that it names.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.fuzzing.mending import laid_out, patched, signed, unfilled
from tests.models.builders import (
    ARRAY,
    STRING,
    U8,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)

N_BLOCKS = 250


def with_blocks(n_blocks: int, *pairs: bytes) -> bytes:
    tensors = [Tensor(f"blk.{n}.ffn.weight", (8,), bytes(32)) for n in range(n_blocks)]
    return gguf(llama_pairs(n_blocks, *pairs), tensors)


def small(*pairs: bytes) -> bytes:
    return gguf(llama_pairs(3, *pairs), block_tensors(3))


def many_pairs() -> bytes:
    return small(*(pair(f"k{n}", U32, n) for n in range(20_000)))


def many_tensors() -> bytes:
    return gguf(llama_pairs(3), [*block_tensors(3), *(Tensor(f"t{n}", (1,)) for n in range(5_000))])


def many_blocks() -> bytes:
    return with_blocks(10_000)


def a_block_far_out() -> bytes:
    pairs = [*llama_pairs(3)[:2], pair("llama.block_count", U32, 2**32 - 1)]
    return gguf(pairs, [*block_tensors(3), Tensor("blk.999999999.ffn.weight")])


def an_array_behind_many_pairs() -> bytes:
    pairs = (pair(f"k{n}", U32, n) for n in range(20_000))
    return with_blocks(N_BLOCKS, *pairs, pair("llama.odd", ARRAY, (U32, [1] * N_BLOCKS)))


def many_listed_tensors() -> bytes:
    names = [f"blk.{n % N_BLOCKS}.a{n}" for n in range(20_000)]
    return with_blocks(N_BLOCKS, pair("general.tensor_extra.name", ARRAY, (STRING, names)))


def a_list_that_is_none() -> bytes:
    numbers = list(range(100_000))
    return with_blocks(N_BLOCKS, pair("general.tensor_extra.name", ARRAY, (U32, numbers)))


def many_strings() -> bytes:
    return small(pair("tokenizer.ggml.tokens", ARRAY, (STRING, [b""] * 60_000)))


def many_arrays() -> bytes:
    return small(pair("llama.nested", ARRAY, (ARRAY, [(U8, [])] * 40_000)))


def many_bytes() -> bytes:
    return small(pair("llama.odd", ARRAY, (U8, [1] * 1_000_000)))


def long_names() -> bytes:
    name = "x" * 300_000
    return gguf(llama_pairs(3, pair(f"llama.{name}", ARRAY, (U8, [1]))), [Tensor(f"blk.0.{name}")])


def much_kept_padding() -> bytes:
    """A record of padding that was kept, a byte each, all over the original."""
    source = llama_model(3)
    good = unfilled(patched(source, [0, 1, 1, 2]))
    old = pair("layer_path.kept_padding", STRING, b"")
    places = b",".join(b"%d+1" % (len(source) - 1 - n % 200) for n in range(50_000))
    assert old in good
    new = good.replace(old, pair("layer_path.kept_padding", STRING, places), 1)
    return signed(laid_out(new) + bytes(50_000))


MAKE: tuple[Callable[[], bytes], ...] = (
    many_pairs,
    many_tensors,
    many_blocks,
    a_block_far_out,
    an_array_behind_many_pairs,
    many_listed_tensors,
    a_list_that_is_none,
    many_strings,
    many_arrays,
    many_bytes,
    long_names,
    much_kept_padding,
)
