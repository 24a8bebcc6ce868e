"""What is in stores, as findings, tables and pictures."""
