"""The kinds of rules, one idea a module."""
