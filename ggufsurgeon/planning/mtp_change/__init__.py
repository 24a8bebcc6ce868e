"""Models whose MTP blocks are left out, or are those of another file of the same model."""
