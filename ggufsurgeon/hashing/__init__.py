"""SHA-256 of files and of the tensors in them, near the speed of the disk."""
