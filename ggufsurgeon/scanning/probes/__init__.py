"""What a scan measures on each layer path: a probe gives items, and a score for each of them."""
