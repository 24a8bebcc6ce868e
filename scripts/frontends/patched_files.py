"""The files to try: patches of a model, and of tiny models with MTP blocks."""

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import ggufsurgeon as gs
from ggufsurgeon.container.headers.codec import make_pair, serialize_header
from ggufsurgeon.container.headers.header import Header, TensorInfo
from ggufsurgeon.container.headers.values import ValueType, encode_value
from ggufsurgeon.container.layout import pad
from tests.models.expanding import expand_named
from tests.models.fine_tunes import fine_tune


class File(NamedTuple):
    """A file to try, what is special about it, and what its layer path is called.

    Of one model, files of the same path must give the same text, and others another.
    """

    name: str
    place: Path
    path: str


Files = list[File]
"""Files of one model; the first is the unmodified one, as a control."""
MTP_MODELS = {"qwen35": "qwen35-dense", "glm4moe": "glm4moe-moe", "deepseek2": "deepseek2-moe"}
"""Architectures of published models with MTP blocks, and headers that get them here."""
MTP_PROMPT = "Once upon a time"
"""For models of random weights, many of whose texts for other prompts no repeat changes."""
NORMAL = 1
"""`LLAMA_TOKEN_TYPE_NORMAL` (include/llama.h): a token that is neither a byte nor for control."""


def patched_files(model: Path, other: Path | None, folder: Path, aligned: bool) -> Files:
    """Patches of a model; `other` is the second one of a path over two."""
    source = gs.open(model)
    n = source.n_blocks
    i, j = n // 3, n // 3 + max(n // 6, 1)
    again = gs.repeat(f"{i}:{j + 1}")
    order = [*range(i), *reversed(range(i, j + 1)), *range(j + 1, n)]
    found = [File("MODEL as it is", model, "all blocks in order")]
    for name, path in {
        "repeat": again,
        "prune": gs.drop(f"{i}:{j}"),
        "reorder": gs.LayerPath(",".join(map(str, order))),
        "strengths": gs.repeat(f"{i}:{j + 1}", strength=0.5),
    }.items():
        found.append(File(name, source.plan(path).write(folder / f"{name}.gguf"), name))
    other = other or fine_tune(model, folder / "other.gguf")
    turns = gs.LayerPath(",".join(f"1:{k}" if k % 2 else str(k) for k in range(n)))
    both = source.plan(turns, others=[other])
    found.append(File("two models", both.write(folder / "two_models.gguf"), "two models"))
    edited = Path(shutil.copy(model, folder / "in_place.gguf"))
    gs.open(edited).plan(again).write_in_place()
    found.append(File("in place", edited, "repeat"))
    most = source.n_bytes * 3 // 5
    shard = source.plan(again).write_shards(folder / "s.gguf", most)[0]
    found.append(File("shards", shard, "repeat"))
    if aligned:
        (folder / "wide.gguf").write_bytes(_realigned(source, 64))
        wide = gs.open(folder / "wide.gguf").plan(again)
        found.append(File("alignment 64", wide.write(folder / "64.gguf"), "repeat"))
    return found


def files_with_mtp(folder: Path) -> Iterator[Files]:
    """Models with random weights whose MTP block is kept, left out, and taken from a donor."""
    for architecture, header in MTP_MODELS.items():
        whole = expand_named(f"{header}@words=stories260K&mtp=1", folder / f"{architecture}.gguf")
        _keep_to_words(whole)
        donor = fine_tune(whole, folder / f"{architecture}_donor.gguf")
        source, again = gs.open(whole), gs.repeat("2:4")
        bare = source.plan(gs.LayerPath.identity(source.n_blocks), without_mtp=True)
        bare = gs.open(bare.write(folder / f"{architecture}_bare.gguf"))
        plans = {
            "kept": source.plan(again),
            "left out": source.plan(again, without_mtp=True),
            "from a donor": bare.plan(again, mtp_from=donor),
        }
        found = [File(f"{architecture} with an MTP block", whole, "all blocks in order")]
        for what, plan in plans.items():
            place = plan.write(folder / f"{architecture}_{what.replace(' ', '_')}.gguf")
            found.append(File(f"MTP block {what}", place, "repeat"))
        yield found


def _keep_to_words(model: Path) -> None:
    """Give bytes and control tokens the logit 0, so that a greedy text is one of words.

    Of bytes that are no UTF-8, every program makes another text.
    """
    file = gs.open(model).file
    types = file.header.get("tokenizer.ggml.token_type")
    assert isinstance(types, list)
    names = [tensor.name for tensor in file.header.tensors]
    output = names.index("output.weight" if "output.weight" in names else "token_embd.weight")
    n_bytes = file.layout.tensor_n_bytes[output] // len(types)
    with model.open("r+b") as out:
        for token, kind in enumerate(types):
            if kind != NORMAL:
                out.seek(file.offset_in_file(output) + token * n_bytes)
                out.write(bytes(n_bytes))


def _realigned(source: gs.ModelFile, alignment: int) -> bytes:
    """The same model with its tensor data at multiples of another alignment."""
    file = source.file
    data, infos, parts, offset = file.path.read_bytes(), [], [], 0
    for tensor, size in zip(file.header.tensors, file.layout.tensor_n_bytes, strict=True):
        start = file.layout.data_start + tensor.offset_in_data
        infos.append(TensorInfo(tensor.name, tensor.dims, tensor.type_id, offset))
        parts.append(data[start : start + size].ljust(pad(size, alignment), b"\0"))
        offset += len(parts[-1])
    order = file.header.byte_order
    value = encode_value(ValueType.UINT32, alignment, order)
    pair = make_pair("general.alignment", ValueType.UINT32, value, order)
    pairs = tuple(p for p in file.header.pairs if p.key != "general.alignment")
    head = serialize_header(Header(file.header.version, order, (*pairs, pair), tuple(infos)))
    return head.ljust(pad(len(head), alignment), b"\0") + b"".join(parts)
