"""Writes plans to disk. This package knows no layers.

The destination is absent, unchanged or complete, whatever happens. Data are written to a file that
has no name, or a temporary name where that is not supported. After a sync it gets its final name.
"""
