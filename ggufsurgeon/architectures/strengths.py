"""Architectures whose blocks can have strengths."""

LAST_WEIGHTS = ("attn_output", "ffn_down", "ffn_down_exps", "ffn_down_shexp", "ssm_out")
EXACT = frozenset({"llama"})
IGNORING: frozenset[str] = frozenset()
