"""lm-evaluation-harness with its own backend for Hugging Face transformers, from a GGUF.

Nothing of ggufsurgeon takes part: the harness' `HFLM` runs what transformers makes of the file, in
float32 on the CPU. The sets come from a folder, which is linked into the working directory under
the names that they have on the hub: the datasets package looks there first.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HUB_NAMES = {
    "bbh": "SaylorTwift/bbh",
    "ifeval": "wis-k/instruction-following-eval",
    "musr": "TAUR-Lab/MuSR",
    "mmlu_pro": "TIGER-Lab/MMLU-Pro",
    "gpqa": "Idavidrein/gpqa",
    "math": "DigitalLearningGmbH/MATH-lighteval",
}
"""The folder of a set in a mirror, and its name on the hub in the harness' leaderboard tasks."""

GROUPS = {
    "ifeval": "leaderboard_ifeval",
    "bbh": "leaderboard_bbh",
    "math": "leaderboard_math_hard",
    "gpqa": "leaderboard_gpqa",
    "musr": "leaderboard_musr",
    "mmlu-pro": "leaderboard_mmlu_pro",
}
"""The harness' name of a benchmark."""


def link_mirror(data: Path, folder: Path) -> None:
    """Make the sets of the mirror `data` visible from `folder` under their names on the hub."""
    for name, on_hub in HUB_NAMES.items():
        if (data / name).is_dir():
            link = folder / on_hub
            link.parent.mkdir(exist_ok=True)
            link.symlink_to((data / name).resolve(), target_is_directory=True)


def load_hf(gguf: Path, n_ctx: int | None) -> Any:
    """What transformers makes of a GGUF, as the harness' HFLM in float32.

    Its `generated` holds for each text, by the prompt, the characters that are there after each
    token, and how far the logits of the two likeliest tokens were apart.
    """
    import torch
    from lm_eval.models.huggingface import HFLM
    from transformers import AutoModelForCausalLM

    class RecordingHFLM(HFLM):  # type: ignore[misc]
        generated: dict[str, list[tuple[int, float]]]
        prompt: str

        def generate_until(self, requests: Any, disable_tqdm: bool = False) -> Any:
            self.generated = {}
            return super().generate_until(requests, disable_tqdm)

        def tok_batch_encode(self, strings: list[str], **settings: Any) -> Any:
            self.prompt = strings[0]
            return super().tok_batch_encode(strings, **settings)

        def _model_generate(self, context: Any, *args: Any, **settings: Any) -> Any:
            settings |= {"output_scores": True, "return_dict_in_generate": True}
            found = super()._model_generate(context, *args, **settings)
            tokens = found.sequences[0, context.shape[1] :].tolist()
            two = torch.cat(found.scores).topk(2).values
            margins = (two[:, 0] - two[:, 1]).tolist()
            lengths = [len(self.tok_decode(tokens[: n + 1])) for n in range(len(tokens))]
            self.generated[self.prompt] = list(zip(lengths, margins, strict=True))
            return found.sequences

    model = AutoModelForCausalLM.from_pretrained(
        gguf.parent, gguf_file=gguf.name, dtype=torch.float32, pad_token_id=None
    )
    tokenizer = load_tokenizer(gguf)
    return RecordingHFLM(pretrained=model, tokenizer=tokenizer, batch_size=1, max_length=n_ctx)


def load_tokenizer(gguf: Path) -> Any:
    """What transformers makes of the vocabulary, with the pre-tokenizer that the file names.

    transformers 5.24 takes GPT-2's for every vocabulary of that kind. SmolLM2's splits off each
    digit first (`LLAMA_VOCAB_PRE_TYPE_SMOLLM` in llama.cpp's src/llama-vocab.cpp), so that two line
    feeds in front of a digit are one token there, and two by GPT-2's.
    """
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    name = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if name is not None and name.contents() == "smollm":
        parts = [Digits(individual_digits=True), ByteLevel(add_prefix_space=False)]
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence(parts)
    return tokenizer


def evaluate_with_hf(
    gguf: Path,
    data: Path,
    tasks: list[str],
    limit: int,
    *,
    chat: bool,
    n_ctx: int | None,
    max_tokens: int | None,
) -> dict[str, Any]:
    """Results and samples of the harness' `simple_evaluate`, by task."""
    import lm_eval
    from langdetect import DetectorFactory
    from lm_eval.tasks import TaskManager

    own_tasks = Path(lm_eval.__file__).parent / "tasks" / "leaderboard"
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        link_mirror(data, Path(folder))
        DetectorFactory.seed = 0
        lm = load_hf(gguf, n_ctx)
        found = lm_eval.simple_evaluate(
            model=lm,
            tasks=[GROUPS.get(task, task) for task in tasks],
            limit=limit,
            bootstrap_iters=0,
            apply_chat_template=chat,
            gen_kwargs=None if max_tokens is None else {"max_gen_toks": max_tokens},
            task_manager=TaskManager(include_path=str(own_tasks), include_defaults=False),
        )
    generated = getattr(lm, "generated", {})
    return {"results": found["results"], "samples": found["samples"], "generated": generated}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("gguf", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--tasks", required=True)
    parser.add_argument("--limit", type=int, default=2)
    parser.add_argument("--ctx", type=int)
    parser.add_argument("--max-tokens", type=int)
    parser.add_argument("--chat-template", action="store_true")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    start = time.monotonic()
    found = evaluate_with_hf(
        options.gguf.resolve(),
        options.data.resolve(),
        options.tasks.split(","),
        options.limit,
        chat=options.chat_template,
        n_ctx=options.ctx,
        max_tokens=options.max_tokens,
    )
    found["seconds"] = time.monotonic() - start
    options.out.write_text(json.dumps(found, default=str))


if __name__ == "__main__":
    os.environ.update(HF_HUB_OFFLINE="1", TQDM_DISABLE="1")
    sys.exit(main())
