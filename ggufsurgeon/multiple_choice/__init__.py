"""Multiple choice by log-likelihood: which of several choices a model finds most likely.

A task file is read (task_files.py) into tasks (tasks.py), which become tokens (task_tokens.py) and
batches (packing.py). Their logits (task_logits.py) give log-likelihoods (likelihoods.py), and these
accuracies and margins (task_results.py). evaluation.py is the whole as a job. The arithmetic of
llama-perplexity's formats is in `ggufsurgeon.llama_perplexity`.
"""
