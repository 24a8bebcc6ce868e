"""How much of this machine a process may use: CPU threads, and memory within control groups."""
