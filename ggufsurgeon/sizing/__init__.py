"""Memory that a model takes on each device, predicted from its header.

caches.py      sizes of the KV cache and the recurrent state of each block
footprint.py   bytes of weights and caches, by what decides on which device they lie
splitting.py   llama.cpp's assignment of layers to devices, and shares that balance them
prediction.py  the load of each device, before and after a patch
"""
