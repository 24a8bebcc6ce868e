"""The section of a page that shows a search: score against added blocks, and what is best."""
