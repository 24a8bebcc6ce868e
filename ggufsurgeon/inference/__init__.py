"""Text from a model along a layer path, over one copy of its weights: jobs for a runner.

`text` continues a prompt; `requests` answers requests in the form of OpenAI's API, over contexts
that a session keeps by name (`contexts`). `execution` decides how a path is run.
"""
