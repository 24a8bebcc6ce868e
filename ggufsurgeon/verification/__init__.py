"""Is a patched file right? Structure, loading, quality."""
