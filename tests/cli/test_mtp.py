"""Options of MTP blocks, as a user types them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.failing import assert_told
from tests.conftest import Run
from tests.planning.test_mtp_change import blocks_of, model

WINDOW = ("--window", "1:3")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "whole.gguf").write_bytes(model(4, 1))
    (tmp_path / "bare.gguf").write_bytes(model(4, 0))
    (tmp_path / "donor.gguf").write_bytes(model(4, 2, fill=100))
    return tmp_path


def test_left_out(surgeon: Run, folder: Path) -> None:
    planned = surgeon("plan", "whole.gguf", *WINDOW, "--without-mtp", "--json")
    assert json.loads(planned.stdout)["n_blocks"] == {"before": 5, "after": 6}
    done = surgeon("patch", "whole.gguf", "new.gguf", *WINDOW, "--without-mtp")
    assert done.returncode == 0 and "has no MTP blocks, but its source has" in done.stdout
    assert blocks_of(folder / "new.gguf") == [0, 1, 2, 1, 2, 3]
    different = surgeon("diff", "whole.gguf", "new.gguf", "--json")
    assert json.loads(different.stdout)["unexplained"] == []


def test_taken_from_another_file(surgeon: Run, folder: Path) -> None:
    mtp_from = ("--mtp-from", "donor.gguf")
    planned = surgeon("plan", "bare.gguf", *WINDOW, *mtp_from)
    assert planned.returncode == 0 and "0..2,1..5" in planned.stdout
    done = surgeon("patch", "bare.gguf", "new.gguf", *WINDOW, *mtp_from)
    assert "verify new.gguf --source bare.gguf --mtp-from donor.gguf" in done.stdout
    assert blocks_of(folder / "new.gguf") == [0, 1, 2, 1, 2, 3, 104, 105]
    checked = surgeon("verify", "new.gguf", "--source", "bare.gguf", *mtp_from, "--json")
    checks = {check["name"]: check["ok"] for check in json.loads(checked.stdout)["checks"]}
    assert (
        checks["MTP blocks"]
        and checks["metadata"]
        and checks["tensors"]
        and checks["gguf-py agrees"]
    )
    restored = surgeon("restore", "new.gguf", "back.gguf")
    assert restored.returncode == 0
    assert (folder / "back.gguf").read_bytes() == (folder / "bare.gguf").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--without-mtp", "--mtp-from", "donor.gguf"), 2, "exclude each other"),
        (
            ("--without-mtp", "--with", "bare.gguf"),
            2,
            "--without-mtp requires a path over one",
        ),
        (("--mtp-from", "./whole.gguf"), 2, "which is the source: it keeps its own"),
        (("--mtp-from", "absent.gguf"), 2, "absent.gguf: cannot be opened"),
        (("--mtp-from", "bare.gguf"), 4, "bare.gguf has no MTP (multi-token prediction) blocks"),
    ],
)
def test_requests_that_are_refused(
    arguments: tuple[str, ...], code: int, told: str, surgeon: Run, folder: Path
) -> None:
    done = surgeon("patch", "whole.gguf", "new.gguf", *WINDOW, *arguments)
    assert_told(done, code, told)
    assert not (folder / "new.gguf").exists()


def test_in_place(surgeon: Run, folder: Path) -> None:
    before = (folder / "whole.gguf").read_bytes()
    for option in (("--without-mtp",), ("--mtp-from", "donor.gguf")):
        done = surgeon("patch", "whole.gguf", "--in-place", *WINDOW, *option)
        assert_told(done, 2, "--in-place keeps the MTP blocks as they are")
    assert (folder / "whole.gguf").read_bytes() == before


def test_verify_without_the_donor_or_with_another(surgeon: Run, folder: Path) -> None:
    surgeon("patch", "bare.gguf", "new.gguf", *WINDOW, "--mtp-from", "donor.gguf")
    done = surgeon("verify", "new.gguf", "--source", "bare.gguf")
    assert_told(done, 2, "the MTP blocks of new.gguf were taken from another file, whose header")
    for donor in ("whole.gguf", "bare.gguf"):
        done = surgeon("verify", "new.gguf", "--source", "bare.gguf", "--mtp-from", donor)
        assert_told(done, 7, f"the MTP blocks of new.gguf were not taken from {donor}")


def test_a_file_with_other_mtp_blocks_alone_takes_companions_as_they_are(
    surgeon: Run, folder: Path
) -> None:
    surgeon("patch", "whole.gguf", "less.gguf", "--layers", "0..3", "--without-mtp")
    assert "to the wrong blocks" not in surgeon("inspect", "less.gguf").stdout
    surgeon("patch", "whole.gguf", "more.gguf", *WINDOW, "--without-mtp")
    assert "to the wrong blocks" in surgeon("inspect", "more.gguf").stdout


def test_mtp_blocks_of_a_patched_model_go_into_its_original(surgeon: Run, folder: Path) -> None:
    surgeon("patch", "bare.gguf", "patched.gguf", *WINDOW)
    done = surgeon(
        "patch", "patched.gguf", "new.gguf", "--layers", "0..3", *("--mtp-from", "donor.gguf")
    )
    assert_told(done, 4, "are of another model")
    assert "patch its original along 0..2,1..3, with the MTP" in " ".join(done.stderr.split())


def test_it_is_told_of_which_of_several_models_the_mtp_blocks_are(
    surgeon: Run, folder: Path
) -> None:
    (folder / "second.gguf").write_bytes(model(4, 1, fill=50))
    path = ("--layers", "0..2,1:2..3", "--with", "second.gguf")
    assert surgeon("patch", "whole.gguf", "new.gguf", *path).returncode == 0
    assert "| MTP blocks | of model 1 |" in surgeon("card", "new.gguf").stdout
    told = surgeon("recipe", "new.gguf", "--as", "mergekit").stdout
    assert "The model has MTP blocks (1) of ORIGINAL_1, which" in told
    assert surgeon("patch", "bare.gguf", "new.gguf", *WINDOW, "--replace").returncode == 0
    assert "MTP blocks" not in surgeon("card", "new.gguf").stdout


def test_diff_says_what_became_of_mtp_blocks(surgeon: Run, folder: Path) -> None:
    surgeon("patch", "whole.gguf", "less.gguf", *WINDOW, "--without-mtp")
    told = surgeon("diff", "whole.gguf", "less.gguf").stdout
    assert told.endswith("B is what patch makes of A without its MTP blocks along it.\n")
    surgeon("patch", "whole.gguf", "other.gguf", *WINDOW, "--mtp-from", "donor.gguf")
    told = surgeon("diff", "whole.gguf", "other.gguf").stdout
    assert "By its record, B is made of A with the MTP blocks of another file" in told
    surgeon("patch", "bare.gguf", "new.gguf", *WINDOW)
    told = surgeon("diff", "bare.gguf", "new.gguf").stdout
    assert told.endswith("B is what patch makes of A along it.\n")


@pytest.mark.parametrize(
    ("patch", "verify", "told"),
    [
        ((), ("--mtp-from", "donor.gguf"), "are its source's own, by its record, so that none are"),
        (("--without-mtp",), ("--mtp-from", "donor.gguf"), "are left out, by its record, so that"),
        (("--without-mtp",), ("--with", "bare.gguf"), "made from one model, and 2 are given"),
        (
            ("--mtp-from", "donor.gguf"),
            ("--mtp-from", "donor.gguf", "--with", "bare.gguf"),
            "made from one model, and 2 are given",
        ),
        (
            ("--layers", "0..1,1:1..3", "--with", "second.gguf"),
            ("--with", "second.gguf", "--mtp-from", "donor.gguf"),
            "are its source's own, by its record, so that none are of donor.gguf",
        ),
        ((), ("--recipe", "absent.txt", "--mtp-from", "donor.gguf"), "--mtp-from exclude each"),
    ],
)
def test_verify_refuses_files_that_the_record_does_not_name(
    patch: tuple[str, ...], verify: tuple[str, ...], told: str, surgeon: Run, folder: Path
) -> None:
    (folder / "second.gguf").write_bytes(model(4, 1, fill=50))
    path = () if "--layers" in patch else WINDOW
    assert surgeon("patch", "whole.gguf", "new.gguf", *path, *patch).returncode == 0
    assert_told(surgeon("verify", "new.gguf", "--source", "whole.gguf", *verify), 2, told)


def test_verify_thinks_of_another_donor_before_it_calls_a_file_wrong(
    surgeon: Run, folder: Path
) -> None:
    (folder / "other.gguf").write_bytes(model(4, 2, fill=50))
    surgeon("patch", "bare.gguf", "new.gguf", *WINDOW, "--mtp-from", "donor.gguf")
    done = surgeon("verify", "new.gguf", "--source", "bare.gguf", "--mtp-from", "other.gguf")
    assert done.returncode == 7 and "does not hold what it claims: tensors" in done.stderr
    assert "another model or another file of MTP blocks can have the same header" in done.stderr
