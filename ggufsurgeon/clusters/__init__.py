"""Jobs on the workers of an executor, such as those of a Dask cluster on many machines.

`executor_runner` sends jobs and takes their results; `hosting` is what runs in a worker of the
executor: it keeps a process with the loaded model. `dask/` is the only importer of `distributed`.
"""
