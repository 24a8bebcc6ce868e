"""llama.cpp through llama-cpp-python: the only package that imports llama_cpp.

A `model` is loaded once and has any number of `context`s; `taps` and `graph_trace` read and replace
the nodes of a graph while llama.cpp computes it. `devices/` finds and checks devices, `high_level/`
makes a `llama_cpp.Llama` over a loaded model.
"""
