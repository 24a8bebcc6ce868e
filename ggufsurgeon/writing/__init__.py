"""A write plan to bytes on disk. Knows no layers.

The promise: the destination is absent, as it was, or complete, whatever happens. Bytes go to a
temporary file beside it, which is synced and then renamed.
"""
