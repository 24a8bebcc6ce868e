"""The jobs of a scan: each decodes and scores a group of items."""
