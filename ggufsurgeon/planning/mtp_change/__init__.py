"""Models whose MTP blocks are left out, or taken from another file of the same model."""
