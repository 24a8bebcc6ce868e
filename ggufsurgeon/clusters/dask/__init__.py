"""A Dask cluster as an executor: workers that join, leave, die or do not fit."""
