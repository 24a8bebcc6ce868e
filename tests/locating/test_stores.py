"""Models that other programs keep, in folders laid out as theirs: found by name, never changed."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.failing import Unchanged, assert_told
from tests.locating.conftest import Named
from tests.models.sharding import cut_evenly

WINDOW = ("--window", "1:3")
COMMIT = "0123456789abcdef" * 2 + "01234567"
MODEL_LAYER = "application/vnd.ollama.image.model"


def put_into_ollama(models: Path, name: str, file: Path, kind: str = MODEL_LAYER) -> Path:
    """A model as Ollama stores it: a manifest, and blobs by their SHA-256."""
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    blob = models / "blobs" / f"sha256-{digest}"
    blob.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, blob)
    manifest = models / "manifests" / name
    manifest.parent.mkdir(parents=True)
    layers = [
        {"mediaType": kind, "digest": f"sha256:{digest}", "size": file.stat().st_size},
        {"mediaType": "application/vnd.ollama.image.template", "digest": f"sha256:{'0' * 64}"},
    ]
    manifest.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return blob


def put_into_hub_cache(cache: Path, repo: str, name: str, file: Path) -> Path:
    """A file as huggingface_hub stores it: a blob, a link to it in a snapshot, and a ref."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    blob = folder / "blobs" / hashlib.sha256(name.encode() + file.read_bytes()).hexdigest()
    blob.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, blob)
    link = folder / "snapshots" / COMMIT / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(os.path.relpath(blob, link.parent))
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs/main").write_text(COMMIT)
    return link


def put(file: Path, *parts: str | Path) -> Path:
    path = Path(*parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(file, path)
    return path


def ollama(home: Path, file: Path) -> str:
    models = home / ".ollama/models"
    put_into_ollama(models, "registry.ollama.ai/library/tiny/latest", file)
    put_into_ollama(models, "hf.co/maker/model-GGUF/Q4_K_M", file)
    return "ollama://tiny"


def ollama_of_hub(home: Path, file: Path) -> str:
    ollama(home, file)
    return "ollama://hf.co/maker/model-gguf:q4_k_m"  # as Ollama, in any case


def lm_studio(home: Path, file: Path) -> str:
    put(file, home, ".lmstudio/models/maker/model-GGUF/model-Q4_K_M.gguf")
    put(file, home, ".lmstudio/models/maker/model-GGUF/mmproj-model.gguf")
    return "lmstudio://maker/model-GGUF/model-Q4_K_M.gguf"


def lm_studio_model(home: Path, file: Path) -> str:
    lm_studio(home, file)
    return "lmstudio://maker/model-GGUF"


def old_lm_studio(home: Path, file: Path) -> str:
    put(file, home, ".cache/lm-studio/models/maker/model-GGUF/model.gguf")
    return "lmstudio://maker/model-GGUF/model.gguf"


def lm_studio_elsewhere(home: Path, file: Path) -> str:
    (home / ".lmstudio-home-pointer").write_text(f"{home}/studio\n")
    settings = put(file, home, "studio/settings.json")
    settings.write_text(json.dumps({"downloadsFolder": f"{home}/large disk"}))
    put(file, home, "large disk/maker/model-GGUF/model.gguf")
    return "lmstudio://maker/model-GGUF/model.gguf"


def old_llama_cpp(home: Path, file: Path) -> str:
    put(file, home, ".cache/llama.cpp/maker_model-GGUF_model-Q8_0.gguf")
    put(file, home, ".cache/llama.cpp/maker_model-GGUF_mmproj-Q8_0.gguf")
    return "llama.cpp://maker/model-GGUF:Q8_0"


def old_llama_cpp_file(home: Path, file: Path) -> str:
    put(file, home, ".cache/llama.cpp/maker_model-GGUF_sub_model.gguf")
    return "llama.cpp://maker/model-GGUF/sub/model.gguf"


def llama_cpp(home: Path, file: Path) -> str:
    cache = home / ".cache/huggingface/hub"
    put_into_hub_cache(cache, "maker/model-GGUF", "a-Q2_K.gguf", home.parent / "other.gguf")
    put_into_hub_cache(cache, "maker/model-GGUF", "b-Q4_K_M.gguf", file)
    return "llama.cpp://maker/model-GGUF"


def hub(home: Path, file: Path) -> str:
    put_into_hub_cache(home / ".cache/huggingface/hub", "maker/model-GGUF", "q/m.gguf", file)
    return "hf://maker/model-GGUF/q/m.gguf"


LAYOUTS = (
    *(ollama, ollama_of_hub, lm_studio, lm_studio_model, old_lm_studio, lm_studio_elsewhere),
    *(old_llama_cpp, old_llama_cpp_file, llama_cpp, hub),
)
Layout = Callable[[Path, Path], str]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_model_is_found_used_and_left_alone(
    named: Named, home: Path, tmp_path: Path, stories: Path, layout: Layout
) -> None:
    (tmp_path / "other.gguf").write_bytes(b"another model")
    name = layout(home, stories)
    with Unchanged(home):
        done = named("inspect", name, "--json")
        patched = named("patch", name, "new.gguf", *WINDOW)
        in_place = named("patch", name, "--in-place", *WINDOW)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["n_blocks"] == 5
    assert patched.returncode == 0, patched.stderr
    assert f"--source {name}" in patched.stdout
    assert_told(in_place, 4, "Patch to a new file.")
    same = named("patch", stories, "same.gguf", *WINDOW)
    assert same.returncode == 0
    assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "same.gguf").read_bytes()


@pytest.mark.parametrize("variable", ["OLLAMA_MODELS", "LLAMA_CACHE", "HF_HOME"])
def test_a_folder_that_a_variable_names(
    named: Named, home: Path, stories: Path, variable: str
) -> None:
    folder = home / "large disk"
    if variable == "OLLAMA_MODELS":
        put_into_ollama(folder, "registry.ollama.ai/library/tiny/1b", stories)
        name = "ollama://library/tiny:1b"
    elif variable == "LLAMA_CACHE":
        put_into_hub_cache(folder, "maker/model", "m-q8_0.gguf", stories)
        name = "llama.cpp://maker/model:Q8_0"
    else:
        put_into_hub_cache(folder / "hub", "maker/model", "m.gguf", stories)
        name = f"hf://maker/model@{COMMIT}/m.gguf"
    assert named("inspect", name).returncode == 2
    told = named("inspect", name, **{variable: str(folder)})
    assert told.returncode == 0, told.stderr


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ollama://", "There are: ollama://hf.co/maker/model-GGUF:Q4_K_M, ollama://tiny:latest"),
        ("ollama://large", "There are: ollama://hf.co/"),
        ("ollama://tiny:7b", "Ollama has no model of this name"),
        ("ollama://a/b/c/d", "expected ollama://"),
        ("ollama://../../tiny", "expected ollama://"),
        ("lmstudio://", "There are: lmstudio://maker/model-GGUF/m"),
        ("lmstudio://maker", "expected lmstudio://"),
        ("lmstudio://maker/other", "There are: lmstudio://maker/model-GGUF/m"),
        ("lmstudio://maker/../maker/model-GGUF/x.gguf", "no model of this name"),
        ("llama.cpp://", "There are: /"),
        ("llama.cpp://maker/other", "has nothing of this repository"),
        ("llama.cpp://maker/model-GGUF:Q2_K", "llama.cpp://maker/model-GGUF/model-Q8_0.gguf"),
        ("llama.cpp://maker", "expected llama.cpp://"),
        ("hf://maker/model-GGUF", "q/m.gguf (in the cache)"),
    ],
)
def test_no_match_lists_what_is_there(
    named: Named, home: Path, stories: Path, name: str, says: str
) -> None:
    for layout in (ollama, lm_studio, old_llama_cpp, hub):
        layout(home, stories)
    assert_told(named("inspect", name, HF_HUB_OFFLINE="1"), 2, says)


def test_empty_stores_say_where_was_looked(named: Named, home: Path) -> None:
    for name in ("ollama://x", "lmstudio://x/y", "llama.cpp://x/y"):
        assert_told(named("inspect", name), 2, f"No GGUF was found in {home}")


def test_shards_in_a_store(named: Named, home: Path, tmp_path: Path, stories: Path) -> None:
    folder = home / ".lmstudio/models/maker/model-GGUF"
    folder.mkdir(parents=True)
    cut_evenly(stories, folder / "model")
    told = named("inspect", "lmstudio://maker/model-GGUF", "--json")
    assert json.loads(told.stdout)["n_shards"] == 3


BROKEN = {
    "no JSON": (b"{", 3, "expected a manifest of Ollama, in JSON"),
    "no layers": (b"[]", 3, "expected a manifest of Ollama, with its layers"),
    "deep": (b"[" * 100_000, 3, "in JSON"),
    "no model": (b'{"layers": [{"mediaType": "x\\u001b[2J"}]}', 2, "found 0"),
    "bad digest": (
        json.dumps({"layers": [{"mediaType": MODEL_LAYER, "digest": "sha256-../x"}]}).encode(),
        3,
        "the digest of its model is",
    ),
    "blob is gone": (
        json.dumps(
            {"layers": [{"mediaType": MODEL_LAYER, "digest": "sha256:" + "0" * 64}]}
        ).encode(),
        2,
        "ollama pull tiny",
    ),
}


@pytest.mark.parametrize(("manifest", "code", "says"), BROKEN.values(), ids=BROKEN)
def test_broken_manifests(
    named: Named, home: Path, stories: Path, manifest: bytes, code: int, says: str
) -> None:
    name = ollama(home, stories)
    (home / ".ollama/models/manifests/registry.ollama.ai/library/tiny/latest").write_bytes(manifest)
    done = named("inspect", name)
    assert_told(done, code, says)
    assert "\x1b" not in done.stderr


def test_names_of_files_are_escaped(named: Named, home: Path, stories: Path) -> None:
    put(stories, home, ".lmstudio/models/maker/model/\x1b[2J\n.gguf")
    done = named("inspect", "lmstudio://maker/other")
    assert_told(done, 2, "There are: lmstudio://maker/model/\\x1b[2J\\n.gguf")


@pytest.mark.parametrize("put_there", [ollama, lm_studio, llama_cpp, old_llama_cpp])
def test_no_new_file_replaces_one_of_a_store(
    named: Named, home: Path, tmp_path: Path, stories: Path, put_there: Callable[[Path, Path], str]
) -> None:
    shutil.copy(stories, tmp_path / "other.gguf")
    put_there(home, stories)
    files = [
        path for path in home.rglob("*") if path.suffix == ".gguf" or path.parent.name == "blobs"
    ]
    assert files
    with Unchanged(home):
        for file in files:
            done = named("patch", stories, file, *WINDOW, "--replace")
            assert_told(done, 4, "is among the models of ")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (
            "https://huggingface.co/maker/model-GGUF/blob/main/Q4/model.gguf?download=true",
            "Its name is hf://maker/model-GGUF/Q4/model.gguf\n",
        ),
        (
            "https://hf.co/maker/model-GGUF/resolve/v2/model.gguf",
            "Its name is hf://maker/model-GGUF@v2/model.gguf\n",
        ),
        ("https://example.org/model.gguf", "error: https://example.org/model.gguf is no file"),
        ("HF://maker/model-GGUF/model.gguf", "Names of models begin with hf://"),
        ("ollama:tiny", "Names of models begin with hf://"),
    ],
)
def test_what_was_meant_as_a_name(named: Named, text: str, says: str) -> None:
    for command in (("inspect", text), ("patch", text, "new.gguf", *WINDOW), ("card", text)):
        assert_told(named(*command), 2, says)


def test_a_file_may_be_called_as_a_name_begins(named: Named, tmp_path: Path, stories: Path) -> None:
    shutil.copy(stories, tmp_path / "ollama:tiny")
    assert named("inspect", "ollama:tiny").returncode == 0


def test_a_new_file_has_a_path(named: Named, home: Path, stories: Path) -> None:
    for name in ("hf://maker/model-GGUF/new.gguf", "ollama://tiny"):
        done = named("patch", stories, name, *WINDOW)
        assert_told(done, 2, f"{name} is a name, and a new file needs a path")


def test_the_suffix_of_a_file_is_in_any_case(named: Named, home: Path, stories: Path) -> None:
    put(stories, home, ".lmstudio/models/maker/model/MODEL.GGUF")
    assert named("inspect", "lmstudio://maker/model/MODEL.GGUF").returncode == 0
