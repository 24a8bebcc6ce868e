"""Searches: layer paths that are composed of the windows of a scan, the best kept and extended.

`limits` says how far a search goes, `candidates` what is tried next, `beam` which are kept, all
from scores alone; `work` runs it over a store, `luck` repeats it without effects, and `judging`
gives the findings.
"""
