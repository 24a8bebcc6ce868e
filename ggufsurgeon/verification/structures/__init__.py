"""Structure of a patched file against its sources: pairs and bytes."""
