"""Commands that measure many layer paths, and report what was found."""
