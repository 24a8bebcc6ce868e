"""The kinds of rules, one module for each topic.

arrays.py        arrays with one element for each block
kinds.py         kinds of block, by an array or by a period where there is none
periods.py       kinds of block by their index alone
positions.py     positions that are rows of a table
counts.py        counts of blocks: all, a prefix, a suffix, and counts that select other maths
compensation.py  what weights can make up for
crossing.py      what reaches other blocks besides the residual stream
slices.py        tensors that hold a slice for each block
tensors.py       tensors that only some blocks have
refusals.py      what is refused, whatever the path
sizes.py         sizes of heads, derived from block 0
"""
