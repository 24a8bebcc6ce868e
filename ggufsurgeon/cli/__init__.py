"""The command line: one file for each command. The only place that prints, and that exits.

Commands are in the folders `inspecting`, `patching`, `publishing`, `running`, `measuring` and
`scanning`. Options that several commands share are in `shared_options`; `output` prints, and
formats results as tables and JSON.
"""
