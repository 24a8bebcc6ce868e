"""Commands that make what goes with a patched file: cards, recipes, companions."""
