"""Models that other programs have downloaded, by the names that those programs give them.

Each module has the folders of one program, and finds a model there or says what is there. Nothing
is ever written.
"""
