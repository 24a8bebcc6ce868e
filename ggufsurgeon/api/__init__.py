"""The public API: files known by their headers, models that stay loaded, and verification.

`model_files` has what is done with files, `recipe_files` their recipes, `loaded_models` what runs a
model, and `reports` what is read from stores.

Every function raises a `ggufsurgeon.errors.GgufSurgeonError` for what the user can mend.
"""
