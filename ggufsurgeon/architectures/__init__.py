"""What in a model depends on the layer index: a vocabulary of rules, and each architecture's.

    model.py      a model as the rules see it, and the edits they answer with
    arrays.py     one element a block
    kinds.py      kinds of block, by an array or by a period where there is none
    periods.py    kinds of block by their index alone
    counts.py     counts of blocks: all, a prefix, a suffix, and counts that select other maths
    compensation.py  what weights can make up for
    crossing.py   what reaches other blocks besides the residual stream
    slices.py     tensors that hold a slice for each block
    tensors.py    tensors that only some blocks have
    refusals.py   what is refused, whatever the path
    sizes.py      sizes of heads, derived from block 0
    table.py      who has which rules
    sources.py    where each was read

Facts are read from llama.cpp of 2026-10-01 (the copy in llama-cpp-python 0.3.36); `file:line`
references are to that tree.
"""
