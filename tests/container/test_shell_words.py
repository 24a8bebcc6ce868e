"""Commands in messages: a shell that they are pasted into gets the same words."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ggufsurgeon.container.shell_words import shell_command, shell_word

names = st.binary(min_size=1, max_size=12).filter(lambda name: b"\0" not in name).map(os.fsdecode)


@given(names | st.sampled_from(["-", "a b", "it's", "\udcff7", "\n\\n", "$'x'", "\u202e", "é"]))
def test_bash_gets_the_same_bytes(name: str) -> None:
    word = shell_word(name)
    assert word.isprintable()
    script = b"printf %s " + word.encode()
    if shutil.which("bash") is None:
        pytest.skip("bash is not here")
    done = subprocess.run(["bash", "-c", script], capture_output=True, check=True)
    assert done.stdout == os.fsencode(name)


def test_a_path_is_no_option() -> None:
    assert shell_command("ggufsurgeon", "recover", Path("-x")) == "ggufsurgeon recover ./-x"
    assert shell_command("patch", "--window", Path("a b")) == "patch --window 'a b'"
    assert shell_command("recover", Path("\udcff.gguf")) == r"recover $'\377.gguf'"
