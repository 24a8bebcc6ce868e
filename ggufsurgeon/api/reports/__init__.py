"""Contents of stores, as findings, tables and pictures."""
