"""What a GGUF is that is no whole language model, by its header."""

from __future__ import annotations

from pathlib import Path

import pytest

from ggufsurgeon.architectures.table import ARCHITECTURES
from ggufsurgeon.container.headers.codec import parse_header
from ggufsurgeon.errors import MalformedFileError, RefusedError
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.planner import plan_patch
from ggufsurgeon.rules.blocks import find_blocks
from ggufsurgeon.rules.outside_blocks import KNOWN, unknown_tensor_notes
from ggufsurgeon.rules.whole_models.file_kinds import OLLAMA_ARCHITECTURES, other_kind
from ggufsurgeon.rules.whole_models.media_models import OF_ARCHITECTURE
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model
from tests.conftest import ROOT
from tests.models import foreign
from tests.models.builders import (
    STRING,
    U32,
    Tensor,
    block_tensors,
    gguf,
    llama_model,
    llama_pairs,
    pair,
)
from tests.models.foreign import of_architecture, with_tensors
from tests.models.in_memory import opened, run

ABOUT = "this program is about language models"
KINDS = [
    (foreign.QWEN_IMAGE, f"an image model (architecture 'qwen_image'): {ABOUT}"),
    (foreign.STABLE_DIFFUSION, f"an image model: {ABOUT}"),
    (foreign.WAN, f"a video model (architecture 'wan'): {ABOUT}"),
    (foreign.FIVE_DIMS, f"an image, video or sound model: {ABOUT}"),
    (of_architecture("kokoro"), f"a sound model (architecture 'kokoro'): {ABOUT}"),
    (of_architecture("chroma", tensors=[Tensor("double_blocks.0.img_attn.qkv.weight")]),
     f"an image model (architecture 'chroma'): {ABOUT}"),
    (of_architecture("whisper", tensors=[Tensor("encoder.conv1.weight")]),
     "no language model that llama.cpp knows (architecture 'whisper'): no tensor of it is in a "),
    (foreign.MMPROJ, "a projector of images or sound (mmproj): it has no layer path of its own"),
    (foreign.LORA, "an adapter (LoRA) for the blocks of another model"),
    (foreign.IMATRIX, "an importance matrix (imatrix) for the weights of another model"),
    (foreign.VOCABULARY, "a vocabulary alone: it has no tensors, so no blocks"),
    (foreign.CONTROL_VECTOR, "a set of control vectors, one for each block of another model"),
    (foreign.OLLAMA, "a model with its vision or sound part in the same file (v.blk.0.attn_q.weig"),
    (of_architecture("gptoss", pair("gptoss.block_count", U32, 3), tensors=block_tensors(3)),
     "a conversion of Ollama's own (architecture 'gptoss'): llama.cpp does not know that "),
]  # fmt: skip


@pytest.mark.parametrize(("data", "says"), KINDS, ids=lambda value: value[:30])
def test_files_are_named_for_what_they_are(data: bytes, says: str) -> None:
    with pytest.raises(RefusedError) as caught:
        find_blocks(opened(data))
    assert says in str(caught.value)
    assert (caught.value.exit_code, caught.value.state) == (4, "Nothing was written.")


@pytest.mark.parametrize("name", sorted(OF_ARCHITECTURE))
def test_models_of_images_video_and_sound_by_their_architecture(name: str) -> None:
    with pytest.raises(RefusedError, match=ABOUT):
        find_blocks(opened(of_architecture(name)))


@pytest.mark.parametrize("path", sorted((ROOT / "fixtures/arch_headers").glob("*.gguf")))
def test_no_language_model_is_taken_for_another_kind(path: Path) -> None:
    header, _ = parse_header(path.read_bytes(), path.name)
    assert other_kind(header) is None


def test_the_names_of_other_programs_are_none_of_llama_cpp() -> None:
    assert not (OF_ARCHITECTURE.keys() | OLLAMA_ARCHITECTURES) & ARCHITECTURES.keys()


@pytest.mark.parametrize(
    "name", ["v.blk.0.ln1.weight", "mm.0.weight", "s.blk.0.x", "a.blk.0.ffn_up.weight"]
)
def test_a_part_that_reads_images_or_sound_is_seen(name: str) -> None:
    data = gguf(llama_pairs(3), [*block_tensors(3), Tensor(name)])
    with pytest.raises(RefusedError, match="as Ollama's own conversions are") as caught:
        find_blocks(opened(data))
    assert "Download a GGUF of the same model" in caught.value.hint
    assert "mmproj" in caught.value.hint


def test_mtp_blocks_as_ollama_names_them_are_seen() -> None:
    data = gguf(llama_pairs(3), [*block_tensors(3), Tensor("mtp.fc.weight")])
    with pytest.raises(RefusedError, match=r"MTP blocks apart from the others \(mtp\.fc\.weight\)"):
        find_blocks(opened(data))


def test_tensors_that_no_model_has_are_noted() -> None:
    tensors = [*block_tensors(3), Tensor("extra.weight"), Tensor("outputs")]
    planned = plan_patch(opened(gguf(llama_pairs(3), tensors)), LayerPath.of([0, 1, 1, 2]))
    assert len(planned.source_notes) == 1
    assert (
        "that no model of llama.cpp of 2026-10-01 has ('extra.weight' and 1 more)"
        in (planned.source_notes[0])
    )


def test_types_that_are_not_known_are_noted_and_their_bytes_copied() -> None:
    """What they mean is not known, but not needed either: they reach up to the next tensor."""
    tensors = [
        *block_tensors(2),
        Tensor("blk.2.ffn.weight", (8,), bytes(range(96)), kind=200),
        Tensor("output.weight", (8,), bytes(range(64)), kind=201),
    ]
    data = gguf(llama_pairs(3), tensors)
    plan = plan_patch(opened(data), LayerPath.of([0, 1, 2, 2]))
    assert len(plan.source_notes) == 1
    assert "of unknown type 200, 201 ('blk.2.ffn.weight' and 1 more): their" in plan.source_notes[0]
    assert run(plan.write_plan, data).endswith(bytes(range(64)) + bytes(range(96)))


@pytest.mark.parametrize("path", sorted((ROOT / "fixtures/arch_headers").glob("*.gguf")))
def test_no_tensor_of_a_language_model_is_unknown(path: Path) -> None:
    header, _ = parse_header(path.read_bytes(), path.name)
    assert list(unknown_tensor_notes(header)) == []


def test_names_that_are_known_are_in_llama_cpp() -> None:
    llama_cpp = pytest.importorskip("llama_cpp", reason="needs the llama extra")
    library = next((Path(llama_cpp.__file__).parent / "lib").glob("libllama.*")).read_bytes()
    apart = {"conv1d", "convnext", "dec", "enc", "fc", "d2t", "nextn", "output", "output_norm"}
    for name in set(KNOWN) - apart - {"position_embd", "posnet", "token_embd"}:
        assert b"\0" + name.encode() + b"\0" in library, name


@pytest.mark.parametrize("name", ["a.rvq.codebook.weight", "mm.a.code_embd.weight", "view.weight"])
def test_tensors_that_llama_cpp_asks_for_are_none_of_it(name: str) -> None:
    assert find_blocks(opened(gguf(llama_pairs(3), [*block_tensors(3), Tensor(name)]))).n_trunk == 3


def test_llama_cpp_refuses_what_is_said_to_be_refused(stories: Path, tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp", reason="needs the llama extra")
    from ggufsurgeon.engine.model import Devices, loaded_model

    path = with_tensors(stories, tmp_path / "model.gguf", *foreign.VISION_TENSORS)
    refused = pytest.raises(
        MalformedFileError, match="wrong number of tensors; expected 51, got 48"
    )
    with refused, loaded_model(path, Devices()):
        pass


def test_more_dimensions_than_llama_cpp_loads_are_malformed_in_a_language_model() -> None:
    tensors = [*block_tensors(3), Tensor("odd.weight", (2, 2, 1, 2, 1))]
    with pytest.raises(MalformedFileError, match="has 5 dimensions, and llama"):
        find_blocks(opened(gguf(llama_pairs(3), tensors)))


def test_what_llama_cpp_may_run_is_no_other_kind_of_model() -> None:
    data = llama_model(3, pair("general.type", STRING, "x"))
    check_is_language_model(opened(data))
    with pytest.raises(RefusedError):
        find_blocks(opened(data))
