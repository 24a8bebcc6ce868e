"""The model card of a patched file: a README.md with YAML front matter, as the hub displays it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.mixtures.recorded_models import RecordedModels
from ggufsurgeon.planning.mtp_change.changing import NO_MTP
from ggufsurgeon.planning.rebuilding.recipes import FileIdentity, Recipe
from ggufsurgeon.publishing.hub_metadata import hub_metadata
from ggufsurgeon.publishing.measurement import Figure, Measurement
from ggufsurgeon.publishing.plain_text import Scalar, markdown_text, yaml_mapping
from ggufsurgeon.publishing.several_models import LICENSES_NOTE, facts_of_models, name_of_base
from ggufsurgeon.publishing.several_models import PATH_NOTE as PATH_NOTE_OF_SEVERAL
from ggufsurgeon.publishing.ways_to_run import ways_to_run
from ggufsurgeon.rules.mtp_blocks import mtp_count_key

EXACT = (
    "No weight was trained or quantized again: each tensor has the bytes of the block of the "
    "original that it comes from."
)
WITH_DONOR = (
    "No weight was trained or quantized again: each tensor has the bytes of the block of the "
    "original, or of the file of the MTP blocks, that it comes from."
)
MIXED = (
    "A GGUF of blocks of several models, put together by ggufsurgeon. No weight was trained, "
    "averaged or quantized again: each tensor has the bytes of the one that it comes from."
)
SCALED = (
    "Some weights were multiplied by a factor, so that the result equals the layer path within "
    "rounding."
)
PRODUCTS = (
    "In blocks with strengths or factors, scales and the biases of queries and keys are "
    "multiplied, and scales are added where there were none."
)
UNMEASURED = "Nothing was measured: whether this model is better or worse than {} is not known."
STRENGTHS = (
    "Strengths and factors are in tensors whose names end in `.scale`: programs with a llama.cpp "
    "from before March 2026 refuse the file, and engines other than llama.cpp may ignore them."
)
PATH_NOTE = (
    "The layer path lists which block of the original runs at each position: inclusive ranges of "
    "blocks, numbered from 0."
)


@dataclass(frozen=True)
class CardContent:
    """Facts about a patched file that its card tells."""

    patched: GgufFile
    recipe: Recipe
    """How it is made of its original, or of several models."""
    layer_path: LayerPath
    """Over the original, or the models, without MTP blocks."""
    measurements: tuple[Measurement, ...] = ()
    base_models: tuple[str, ...] = ()
    """Ids of the original, or of the models, on the hub."""
    models: RecordedModels | None = None
    """Where the blocks are of several."""

    @property
    def is_of_several(self) -> bool:
        """Whether the blocks are of several models."""
        return self.models is not None

    @property
    def metadata(self) -> dict[str, Scalar]:
        """The fields of the front matter, in their order."""
        return hub_metadata(self.patched.header, self.base_models, self.models)


def model_card(content: CardContent, recipe_lines: Sequence[str]) -> str:
    """The text of the card; the same content gives the same text.

    `recipe_lines` are those of the recipe, with what the user is to do with them.
    """
    metadata = yaml_mapping(content.metadata)
    parts = (_what(content), _measured(content), _running(content), _rebuilding(recipe_lines))
    body = "\n\n".join("\n".join(part) for part in parts)
    return f"---\n{metadata}\n---\n\n{body}\n"


def _what(content: CardContent) -> Iterator[str]:
    patched, is_mixed = content.patched, content.is_of_several
    name = patched.header.get("general.name")
    yield f"# {markdown_text(name if isinstance(name, str) else patched.path.stem)}"
    yield ""
    if is_mixed:
        what = MIXED
    else:
        is_scaled = any(patch.scales_weights for patch in content.recipe.patches)
        exactness = SCALED if is_scaled else WITH_DONOR if content.recipe.further else EXACT
        what = f"A GGUF whose blocks were rearranged by ggufsurgeon. {exactness}"
    yield what if content.layer_path.is_plain else f"{what} {PRODUCTS}"
    yield ""
    yield from _table("", "", rows=list(_facts(content)))
    yield ""
    yield PATH_NOTE_OF_SEVERAL if is_mixed else PATH_NOTE
    if content.models and content.models.licenses:
        yield ""
        yield LICENSES_NOTE


def _facts(content: CardContent) -> Iterator[tuple[str, str]]:
    patched, recipe = content.patched, content.recipe
    yield "layer path", f"`{content.layer_path}`"
    yield "blocks", str(len(content.layer_path))
    yield "architecture", markdown_text(patched.header.architecture or "")
    yield "this file", f"{markdown_text(patched.path.name)}, {_identity(recipe.result)}"
    licensed = "licence of the original"
    if content.models is not None:
        yield from facts_of_models(content.models)
        licensed = "licence of all models"
    else:
        yield "its original", _identity(recipe.source)
    if recipe.patches[0].mtp is not None:
        yield "MTP blocks", _origin_of_mtp(recipe.patches[0].mtp)
    elif content.models is not None and patched.header.get(mtp_count_key(patched.header)):
        yield "MTP blocks", f"of model {content.models.outside.output}"
    license_text = patched.header.get("general.license")
    if content.models is not None and content.models.licenses:
        return
    if isinstance(license_text, str) and license_text.strip():
        yield licensed, markdown_text(license_text)


def _origin_of_mtp(mtp: str) -> str:
    if mtp == NO_MTP:
        return "none: those of the original were left out"
    return f"of another file, whose header has the SHA-256 `{mtp}`"


def _identity(identity: FileIdentity) -> str:
    text = f"{identity.n_bytes:,} bytes"
    if identity.shards:
        return f"{text}, in {len(identity.shards)} shards"
    return f"{text}, SHA-256 `{identity.sha256}`" if identity.sha256 else text


def _measured(content: CardContent) -> Iterator[str]:
    yield "## Measurements"
    for measurement in content.measurements:
        yield ""
        yield (
            f"On the text {markdown_text(measurement.text_name)} "
            f"({measurement.text_n_bytes:,} bytes, SHA-256 `{measurement.text_sha256}`), in "
            f"{measurement.n_chunks:,} chunks of {measurement.n_ctx:,} tokens, of which "
            f"{measurement.n_scored:,} tokens were scored, by {measurement.tool}:"
        )
        yield ""
        yield from _table("", "value", "standard error", rows=list(_figures(measurement, content)))
    if not content.measurements:
        yield ""
        of_several = "the models that it was made of"
        yield UNMEASURED.format(of_several if content.is_of_several else "its original")


def _figures(measurement: Measurement, content: CardContent) -> Iterator[tuple[str, str, str]]:
    base = "its original"
    if content.models is not None and measurement.base is not None:
        base = name_of_base(content.models, measurement.base.header_sha256)
    yield _row("perplexity of this model", measurement.perplexity, 4)
    if measurement.base_perplexity is not None:
        yield _row(f"perplexity of {base}", measurement.base_perplexity, 4)
    if measurement.kl is not None:
        yield _row(f"KL divergence from {base}, nats per token", measurement.kl, 5)
    if measurement.same_top is not None:
        yield _row(f"same most probable token as {base}, %", measurement.same_top, 2, 100)


def _row(name: str, figure: Figure, n_digits: int, factor: int = 1) -> tuple[str, str, str]:
    error = "-" if figure.error is None else f"{factor * figure.error:.{n_digits}f}"
    return name, f"{factor * figure.value:.{n_digits}f}", error


def _running(content: CardContent) -> Iterator[str]:
    yield "## How to run it"
    if not content.layer_path.is_plain:
        yield ""
        yield STRENGTHS
    for way in ways_to_run(content.patched):
        yield ""
        yield f"{way.program}:"
        yield ""
        yield from _fenced(way.language, way.lines)


def _rebuilding(lines: Sequence[str]) -> Iterator[str]:
    yield "## How to rebuild it"
    yield ""
    yield from _fenced("text", lines)


def _fenced(language: str, lines: Sequence[str]) -> Iterator[str]:
    """A code block. No line of a command begins with a string of the file, so none can end it."""
    yield f"```{language}"
    yield from lines
    yield "```"


def _table(*head: str, rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield f"|{'---|' * len(head)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)
