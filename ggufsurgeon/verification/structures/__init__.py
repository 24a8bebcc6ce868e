"""The structure of a patched file compared with its sources: metadata pairs and bytes."""
