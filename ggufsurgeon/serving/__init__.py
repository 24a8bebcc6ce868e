"""A server with OpenAI's API: a model and layer paths over it, each under a name of its own.

Request bodies are those of llama-cpp-python's server, and its class `Llama` answers. The routes are
ours, since those of that server answer a wrong model name with the first model, and an error within
a stream with status 200.
"""
