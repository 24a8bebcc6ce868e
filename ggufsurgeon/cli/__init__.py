"""The command line: one file a command. The only place that prints, and that exits.

Options that several commands share are in files that end in `options`; `terminal` prints, and the
other files make tables and JSON of results.
"""
