"""Model files, known by their headers: what can be planned, written, compared and verified."""
