"""The public API: files known by their headers, models that stay loaded, and verification.

Every function raises a `ggufsurgeon.errors.GgufSurgeonError` for what the user can mend.
"""
