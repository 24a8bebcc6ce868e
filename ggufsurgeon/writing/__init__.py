"""A write plan to bytes on disk. Knows no layers.

The promise: the destination is absent, as it was, or complete, whatever happens. Bytes go to a file
that has no name, or a temporary one where that cannot be; once it is synced it gets its own.
"""
