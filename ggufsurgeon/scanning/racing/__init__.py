"""Races: paths leave a scan as scores come, and held-out items judge the winner.

`race` decides, from scores alone, which paths run on which items; `work` does that over a store,
and `judging` gives the findings.
"""
