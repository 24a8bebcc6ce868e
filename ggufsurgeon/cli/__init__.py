"""The command line: one file a command. The only place that prints, and that exits.

Commands are in the folders `files`, `running`, `measuring` and `scanning`. Options that several
commands share are in files whose names end in `options`; `terminal` prints, and the other files
format results as tables and JSON.
"""
