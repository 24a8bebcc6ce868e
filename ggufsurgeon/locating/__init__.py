"""Names of models to files: on the Hugging Face Hub, and in the stores of other programs.

`model_name.py` reads names such as `hf://org/repo/file.gguf`; `stores/` finds files that are on
this machine already, and writes to none of them; `hub/` alone uses the network. `locate.py` puts
them together: a name becomes a file on disk, or a header that was read from the hub.
"""
