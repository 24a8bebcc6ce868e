"""What in a model depends on the layer index: a vocabulary of rules, and each architecture's.

Facts are read from llama.cpp of 2026-10-01 (the copy in llama-cpp-python 0.3.36); `file:line`
references are to that tree.
"""
