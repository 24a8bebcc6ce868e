"""Writers of the spans of a plan, one module for each kind."""
