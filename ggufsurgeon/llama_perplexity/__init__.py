"""Emulation of llama-perplexity bug for bug, so that figures agree to the last printed digit.

This code is frozen: it is not to be improved, and tests pin it to the output of llama-perplexity.
All line numbers are of tools/perplexity/perplexity.cpp in llama.cpp of 2026-10-01.

- softmax.py: C's expf of 32-bit floats, added up in 64 bits (60-70)
- stride.py: chunks of strided evaluation (296-440), losses by way of 32-bit probabilities (40-58)
- moments.py: means and errors with squares in 32-bit floats (210-217, 1749-1766)
- percentiles.py: percentiles in 32-bit floats (1930-1937)
- logits_rows.py: 16 bits a logit, and the cutoff at -16 nats (79-107, 230)
- logits_file.py: the file of --kl-divergence-base (144-173, 458-526)
- task_sample.py: how multiple-choice tasks are drawn (764-842, 1096-1115, 1424-1440)
- task_batches.py: which of them are decoded together (873-910, 1169-1196, 1993-2015)
- task_scores.py: their log-likelihoods, added up in 32-bit floats (682-712, 944-955, 1248-1258)
- winogrande.py: the tokens of winogrande that are scored, one by the wrong row (1176-1233)
"""
