"""Commands that read model files and check them."""
