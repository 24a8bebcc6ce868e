"""What goes with a patched file that is shared: how to run it, its model card, and recipes in YAML.

Strings of a model may be hostile. `plain_text.py` puts them into Markdown and YAML, and
`container/shell_words.py` into commands, so that they stay what they are: text.
"""
