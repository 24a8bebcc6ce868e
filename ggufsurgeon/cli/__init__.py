"""The command line: one file a command. The only place that prints, and that exits.

Commands are in the folders `files`, `running`, `measuring` and `scanning`. Options that several of
them share are in files that end in `options`; `terminal` prints, and the other files make tables
and JSON of results.
"""
