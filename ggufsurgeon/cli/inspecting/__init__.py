"""Commands that read model files."""
