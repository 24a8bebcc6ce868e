"""Commands that print or write what accompanies a patched file: cards, recipes, companions."""
