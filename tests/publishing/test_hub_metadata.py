"""The front matter is what the hub's own classes read, and says what the file says."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.container.headers.header import Header
from ggufsurgeon.publishing.hub_metadata import hub_metadata, is_repository
from tests.models.builders import ARRAY, STRING, llama_model, pair

URL = "https://huggingface.co/Qwen/Qwen2-72B"


def header_with(folder: Path, **values: object) -> Header:
    """The header of a model with such keys of `general`; underscores stand for dots."""
    pairs = [
        pair(f"general.{key.replace('__', '.')}", STRING if isinstance(v, str) else ARRAY, v)
        for key, v in values.items()
    ]
    (folder / "model.gguf").write_bytes(llama_model(3, *pairs))
    return open_gguf(folder / "model.gguf").header


def test_what_the_file_says(tmp_path: Path) -> None:
    languages = (STRING, ["en", "de", "not a code", "EN"])
    found = hub_metadata(
        header_with(tmp_path, license="Apache-2.0", languages=languages, repo_url=URL), ()
    )
    assert found == {
        "library_name": "gguf",
        "pipeline_tag": "text-generation",
        "base_model": ("Qwen/Qwen2-72B",),
        "base_model_relation": "merge",
        "license": "apache-2.0",
        "language": ["en", "de"],
        "tags": ["gguf", "merge", "ggufsurgeon"],
    }
    assert hub_metadata(header_with(tmp_path, repo_url=URL), ["a/b"])["base_model"] == ("a/b",)


def test_what_is_no_licence_or_repository_is_not_taken_for_one(tmp_path: Path) -> None:
    other = header_with(tmp_path, license="Tongyi Qianwen", license__link="https://example.com/L")
    found = hub_metadata(other, ())
    assert (found["license"], found["license_name"]) == ("other", "Tongyi Qianwen")
    assert found["license_link"] == "https://example.com/L"
    named = header_with(tmp_path, license="other", license__name="tongyi-qianwen")
    assert hub_metadata(named, ())["license_name"] == "tongyi-qianwen"
    for url in ("https://example.com/Qwen/Qwen2", f"{URL}/tree/main", "https://hf.co/-/x", "Qwen"):
        odd = header_with(tmp_path, repo_url=url, license=" ", license__link="javascript:alert(1)")
        assert not {"base_model", "license", "license_link"} & set(hub_metadata(odd, ()))


def test_the_source_is_preferred_to_the_parent_of_a_fine_tune(tmp_path: Path) -> None:
    keys = {"base_model__0__repo_url": URL, "source__repo_url": "https://huggingface.co/a/tuned"}
    assert hub_metadata(header_with(tmp_path, **keys), ())["base_model"] == ("a/tuned",)
    del keys["source__repo_url"]
    assert "base_model" not in hub_metadata(header_with(tmp_path, **keys), ())


@given(st.from_regex(r"[\w.-]{1,9}/[\w.-]{1,9}", fullmatch=True) | st.text(max_size=20))
def test_a_repository_is_one_for_the_hub_too(text: str) -> None:
    hub = pytest.importorskip("huggingface_hub.utils", reason="needs huggingface_hub")
    if is_repository(text):
        hub.validate_repo_id(text)


def test_the_hub_reads_the_front_matter_of_a_card(tmp_path: Path) -> None:
    hub = pytest.importorskip("huggingface_hub", reason="needs huggingface_hub")
    from ggufsurgeon.publishing.plain_text import yaml_mapping

    languages = (STRING, ["en", "no"])  # a YAML 1.1 reader takes a bare no for false
    found = hub_metadata(header_with(tmp_path, license="MIT", languages=languages), ["a/b"])
    card = hub.ModelCard(f"---\n{yaml_mapping(found)}\n---\n\n# A\n")
    assert isinstance(card.data, hub.ModelCardData)
    wanted = {key: list(v) if isinstance(v, tuple) else v for key, v in found.items()}
    assert card.data.to_dict() == wanted
    assert (card.data.license, card.data.base_model) == ("mit", ["a/b"])
