"""lm-evaluation-harness: its tasks, its prompts and its scoring. Nothing else imports `lm_eval`."""
