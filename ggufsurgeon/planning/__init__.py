"""Headers, a layer path and rules to a write plan, or to a refusal with its reason. Pure.

`planner` plans a file, with its tensors from `new_tensors/`. `mixtures/` plans over several models,
`mtp_change/` changes MTP blocks, `originals/` finds the original of a patched file by its record,
and `rebuilding/` has the recipes that rebuild one.
"""
