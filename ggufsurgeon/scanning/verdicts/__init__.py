"""From the scores of a scan to findings and a verdict. Pure."""
