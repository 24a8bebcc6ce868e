"""The job that runs a loaded model, and reads and overwrites its residual stream."""
