"""A write plan carried out on its source itself. Knows no layers.

The promise: the file is as it was, or complete; killed in between, a journal beside it is left,
from which `recover` undoes the edit or finishes it. The bytes are those of a new file of the plan.
"""
