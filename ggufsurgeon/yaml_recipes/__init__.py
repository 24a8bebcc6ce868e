"""YAML recipes: layer paths over one or several named models, in mergekit's format or in ours.

`tree.py` reads YAML as text without types, within limits, `fields.py` takes values from it with
their places, `mergekit.py` and `own_format.py` make a `YamlRecipe` (`recipe.py`) of them, and
`matching.py` the layer path over the files that stand for its models.
"""
