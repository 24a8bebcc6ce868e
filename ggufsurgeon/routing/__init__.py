"""Run a layer path on unmodified models, by carrying the residual stream from block to block."""
