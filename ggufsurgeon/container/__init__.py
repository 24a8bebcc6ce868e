"""The GGUF format, and nothing about what a model's layers mean.

A file is: magic `GGUF`, version (u32), tensor count and key-value count (u64 each), the
key-value pairs, the tensor infos, padding up to `general.alignment`, and the data section.
Format facts follow llama.cpp's `ggml/src/gguf.cpp` (of 2026-10-01): versions 2 and 3
(506-519), a power-of-two u32 alignment (622-636), data offsets that equal the running padded
sum in tensor-info order (795-817).
"""
