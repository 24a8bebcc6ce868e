"""Commands that read and write model files."""
