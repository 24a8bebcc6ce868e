"""What in a model depends on the block index: kinds of rules, and the rules of each architecture.

vocabulary/   the kinds of rules
model.py      a model as the rules see it, and the edits they answer with
several.py    rules over the blocks of several models
outside.py    tensors outside the blocks
residual.py   the residual stream in the graph of each architecture
strengths.py  which architectures can have strengths and factors
table.py      the rules of each architecture
sources.py    the lines of llama.cpp where each was read

Facts are read from llama.cpp of 2026-10-01 (the copy in llama-cpp-python 0.3.36); `file:line`
references are to that tree.
"""
