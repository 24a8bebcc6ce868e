"""The installed llama-cpp-python: its import, its build, and what is wrong with it."""
