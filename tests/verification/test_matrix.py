"""Law 7, sampled: on every architecture, a written file computes what routing computes.

`scripts/architecture_matrix` runs the same over many more paths.
"""

from __future__ import annotations

import pytest

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.architectures.vocabulary.refusals import Refused
from ggufsurgeon.container.headers.codec import parse_header
from tests.conftest import ROOT
from tests.verification.running import run_matrix

pytestmark = pytest.mark.slow

pytest.importorskip("llama_cpp", reason="needs the llama extra")

HEADERS = sorted((ROOT / "fixtures/arch_headers").glob("*.gguf"))
PERIODS = ("gemma2-dense", "gemma3-dense", "cohere2-dense", "olmo2-dense", "gpt-oss-moe")
VARIANTS = [
    *(f"{stem}@{variant}" for stem in PERIODS for variant in ("period=3", "period=6", "absent")),
    "smallthinker-moe@period=4",
    "exaone-moe-moe@period=4",
    "afmoe-moe@absent",
    "mellum-moe@absent",
    "plamo3-dense@absent",
    *(f"{stem}-dense@absent" for stem in ("modern-bert", "gemma-embedding")),
    "modern-bert-dense@absent=attention.sliding_window",
    "gemma-embedding-dense@period=3",
    "minicpm-dense@absent=residual_scale",
    "gemma2-dense@blocks=46",
    "gemma3-dense@blocks=62",
    "gemma3-dense@heads=1&blocks=62",
    "exaone4-dense@blocks=64",
    "baichuan-dense@blocks=32",
    "command-r-dense@blocks=63",
    "llama-dense@blocks=80",
    *(f"gemma4-dense@set=attention.shared_kv_layers:{n}" for n in (3, 6)),
    "rwkv6-dense@set=rescale_every_n_layers:3",
    "llama-dense@unread=attention.head_count",
    "gemma2-dense@unread=attention.head_count",
    "llama-dense@unread=feed_forward_length",
    "qwen3moe-moe@unread=expert_feed_forward_length",
    *(f"{stem}@narrow=ffn" for stem in ("deci-dense", "openelm-dense", "plamo3-dense")),
    *(f"{stem}@narrow=heads" for stem in ("laguna-moe", "mimo2-moe", "spark2_5-dense")),
    *(
        f"{stem}@set=rope.dimension_count_swa:40"
        for stem in ("laguna-moe", "mimo2-moe", "spark2_5-dense")
    ),
    "qwen3vl-dense@set=n_deepstack_layers:3",
    "kimi-k3-moe@set=attn_res.block_size:5",
    "llama-dense@extra",
    "glm4moe-moe@trunk=2",
    "mimo2-moe@trunk=1",
    "deepseek4-moe@set=nextn_predict_layers:1",
]
"""Periods that the headers do not have, absent keys, counts that select other maths, arrays of
which all but the first element are wrong, blocks of other sizes, other RoPE with a window, image
features behind the first blocks, checkpoints of the residual, tensors listed by name, MTP blocks
without tensors, shared KV, and residuals that are halved at every so many blocks."""

NOT_COMPARED = {"talkie"}
"""Routing in these tests cannot jump to block 0 of the one, and the other has no logits."""


MODELS = [path.stem for path in HEADERS] + VARIANTS
N_SHARES = 6
"""The models are run in shares, which processes of pytest can take apart."""

EXACT = {"exact", "exact on recent builds"}


@pytest.mark.parametrize("share", range(N_SHARES))
def test_none_is_wrong_none_does_not_load_and_nearly_all_is_compared(share: int) -> None:
    lines = run_matrix(MODELS[share::N_SHARES], n_processes=1)
    bad = [line for line in lines if line["status"] in ("wrong", "unloadable")]
    assert bad == []
    left_out = {line["architecture"] for line in lines if line["status"] == "not compared"}
    assert left_out <= NOT_COMPARED
    assert sum(line["status"] in EXACT for line in lines) > 355 / N_SHARES


def test_each_architecture_is_run_or_refused() -> None:
    run = {parse_header(path.read_bytes(), path.name)[0].architecture for path in HEADERS}
    refused = {
        name
        for name, row in ARCHITECTURES.items()
        if any(isinstance(rule, Refused) for rule in row.own_rules)
    }
    assert ARCHITECTURES.keys() - run <= refused
