"""Writing a plan into its source file. This package knows no layers.

The file is unchanged or complete; if the process is killed in between, a journal stays beside the
file, with which `recover` undoes or finishes the edit. The result has the bytes that a new file
of the plan would have.
"""
