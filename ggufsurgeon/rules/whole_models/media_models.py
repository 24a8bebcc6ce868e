"""Models of images, video and sound, by their headers: GGUF is the format of many of them too.

Architectures and names of tensors are those that ComfyUI-GGUF reads and writes (loader.py,
tools/convert.py), those of TTS.cpp (include/common.h), and the prefixes of stable-diffusion.cpp
(src/convert.cpp), whose files have no metadata.
"""

from __future__ import annotations

from ggufsurgeon.container.headers.header import Header

IMAGE, VIDEO, SOUND = "an image model", "a video model", "a sound model"
ANY = "an image, video or sound model"
OF_ARCHITECTURE = {
    **dict.fromkeys(
        ("aura", "flux", "hidream", "lumina2", "qwen_image", "sd1", "sd3", "sdxl"), IMAGE
    ),
    **dict.fromkeys(("cosmos", "hyvid", "ltxv", "wan"), VIDEO),
    **dict.fromkeys(("dia", "kokoro", "parler-tts"), SOUND),
    "pig": ANY,
}
"""Kinds of model by `general.architecture`; `pig` is written for any of them."""
PREFIXES = ("model.diffusion_model.", "diffusion_model.", "model.", "net.", "unet.")
"""What may precede the name of a tensor (strip_prefix in tools/convert.py)."""
PARTS = (
    *("double_blocks.", "single_blocks.", "transformer_blocks.", "single_transformer_blocks."),
    *("joint_blocks.", "joint_transformer_blocks.", "double_stream_blocks.", "double_layers."),
    *("input_blocks.", "middle_block.", "output_blocks.", "down_blocks.", "up_blocks."),
    *("context_refiner.", "noise_refiner.", "first_stage_model.", "cond_stage_model."),
    *("text_encoders.", "vae.", "adaln_single.", "img_in.", "time_in.", "time_embed."),
)
"""How names of tensors begin in these models alone."""
LANGUAGE_MODEL_N_DIMS = 4
"""Most dimensions of a tensor that llama.cpp loads (`GGML_MAX_DIMS`, ggml/include/ggml.h)."""


def kind_of_media(header: Header) -> str | None:
    """What kind of model it is, such as `an image model`; None for another one.

    `header` is one without blocks as llama.cpp names them, `blk.0`.
    """
    named = OF_ARCHITECTURE.get(header.architecture or "")
    if named is not None:
        return named
    if any(_names_a_part(tensor.name) for tensor in header.tensors):
        return ANY if n_dims(header) > LANGUAGE_MODEL_N_DIMS else IMAGE
    return ANY if n_dims(header) > LANGUAGE_MODEL_N_DIMS else None


def n_dims(header: Header) -> int:
    """The most dimensions that a tensor has."""
    return max((len(tensor.dims) for tensor in header.tensors), default=0)


def _names_a_part(name: str) -> bool:
    if name.startswith(PREFIXES[:2]):
        return True
    bare = next((name[len(p) :] for p in PREFIXES if name.startswith(p)), name)
    return bare.startswith(PARTS)
