"""The jobs of a scan: groups of items, decoded and scored."""
