"""Jobs over loaded models: in a worker process that stays up, or in this process."""
