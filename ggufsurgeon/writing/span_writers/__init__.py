"""Writing of the spans of a plan, one kind a module."""
