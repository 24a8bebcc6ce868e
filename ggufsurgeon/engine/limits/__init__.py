"""What of this machine a process may use."""
