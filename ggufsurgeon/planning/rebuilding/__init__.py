"""What rebuilds a patched file from its original."""
