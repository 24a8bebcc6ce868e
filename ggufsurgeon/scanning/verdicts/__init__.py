"""Findings and a verdict, computed from the scores of a scan. Pure."""
