"""The devices of llama.cpp: listing them, RPC servers, and the memory that each holds."""
