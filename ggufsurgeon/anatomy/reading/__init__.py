"""Jobs that run a loaded model, and read and overwrite its residual stream."""
