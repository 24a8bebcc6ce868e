"""What the blocks of a model do: where contents look alike, what each block changes, what carries
an answer.

`contents` and `pairs` are what is read, `reading/` runs the model, and `similarity`, `bands` and
`prediction` compute from its figures; `anatomy` puts the parts together into `findings`.
"""
