"""Files of the Hugging Face Hub, by huggingface_hub, which is imported here when it is needed.

Its settings hold: `HF_HOME`, `HF_TOKEN`, `HF_ENDPOINT`, `HF_HUB_OFFLINE` and its timeouts.
"""
