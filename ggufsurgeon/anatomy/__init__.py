"""What the blocks of a model do: where contents are similar, what each block changes, and which
states carry an answer.

`contents` and `pairs` are the texts, `reading/` runs the model on them, `similarity`, `bands` and
`prediction` compute from its figures, and `anatomy` puts the parts together into `findings`.
"""
