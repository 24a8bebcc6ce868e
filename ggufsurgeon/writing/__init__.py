"""A write plan to bytes on disk. Knows no layers.

The promise: the destination is absent, as it was, or complete, whatever happens. Bytes go to a file
without a name, or under a temporary one where that cannot be, which is synced and then gets its name.
"""
