"""llama.cpp through llama-cpp-python: the only package that imports llama_cpp.

A `model` is loaded once and has any number of `context`s. `graph/` reads and replaces the nodes of
a graph while llama.cpp computes it, `devices/` finds and checks devices, `high_level/` makes a
`llama_cpp.Llama` over a loaded model, `installation/` imports the library and explains what is
wrong with it, `limits/` says how much of the machine a process may use, and `native_objects/` has
the lifetimes of native objects.
"""
