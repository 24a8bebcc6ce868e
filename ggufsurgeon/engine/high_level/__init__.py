"""llama-cpp-python's high-level class `Llama`, over models that are loaded already."""
