"""Files that are no GGUF: what they are, and what to do about it."""

from __future__ import annotations

import struct

from ggufsurgeon.container.file_bytes import Buffer
from ggufsurgeon.container.other_files.archives import gguf_names, has_directory, has_pickle
from ggufsurgeon.container.other_files.downloads import CONVERT, OtherFormat, recognise_text
from ggufsurgeon.container.shell_words import shell_command

QUANTIZE = (
    "Quantize the model that it belongs to with it first, and patch the result; or have "
    "llama-imatrix convert it to a GGUF, which patch-companion takes."
)
UNPACK = "Unpack it first, and give the file inside."
LLAMAFILE = b"MZqFpD='"
"""How a program of Cosmopolitan Libc begins, as llamafiles are (ape/specification.md)."""
HEAD_N_BYTES = 4096
"""Bytes of a file that are looked at; of an archive, its directory at the end too."""


MAGICS: tuple[tuple[bytes, OtherFormat], ...] = (
    (
        b"_logits_",
        OtherFormat(
            "saved logits of a model", "Give them as the base logits of a measurement instead."
        ),
    ),
    *(  # ggml, ggmf, ggjt and ggla, the magics before GGUF, as little-endian numbers
        (
            magic,
            OtherFormat(
                "a pre-GGUF (ggml/ggjt) model, or a model of whisper.cpp",
                "Convert the original weights of a language model again, with "
                "convert_hf_to_gguf.py of llama.cpp.",
            ),
        )
        for magic in (b"lmgg", b"fmgg", b"tjgg", b"algg")
    ),
    *(  # protocols 2 to 5 of pickle, the old format of torch.save
        (bytes((0x80, protocol)), OtherFormat("a PyTorch checkpoint (pickle)", CONVERT))
        for protocol in (2, 3, 4, 5)
    ),
    (b"\x1f\x8b", OtherFormat("a file compressed with gzip", UNPACK)),
    (b"BZh", OtherFormat("a file compressed with bzip2", UNPACK)),
    (b"\xfd7zXZ\0", OtherFormat("a file compressed with xz", UNPACK)),
    (b"\x28\xb5\x2f\xfd", OtherFormat("a file compressed with zstd", UNPACK)),
    (b"7z\xbc\xaf\x27\x1c", OtherFormat("a 7z archive", UNPACK)),
    (b"Rar!\x1a\x07", OtherFormat("a RAR archive", UNPACK)),
    (b"\x93NUMPY", OtherFormat("a NumPy array")),
    (b"\x89HDF\r\n\x1a\n", OtherFormat("an HDF5 file, as Keras writes")),
    (b"PAR1", OtherFormat("a Parquet file: a data set, not a model")),
    (b"SQLite format 3\0", OtherFormat("an SQLite database, as a store of measurements is")),
    (b"\x89PNG\r\n\x1a\n", OtherFormat("a PNG picture")),
    (
        b"FUGG",
        OtherFormat(
            "a GGUF whose magic is reversed",
            "llama.cpp reads no such file: its own begin with GGUF in either byte order. Convert "
            "the original weights again, with convert_hf_to_gguf.py of llama.cpp.",
        ),
    ),
    (b"\x7fELF", OtherFormat("a program for Linux")),
    (b"MZ", OtherFormat("a program for Windows")),
    (b"%PDF-", OtherFormat("a PDF document")),
)


def recognise(data: Buffer, path: str) -> OtherFormat | None:
    """The format of a file that does not begin with the magic of GGUF; None if it is not known.

    `data` is the whole file; no more is read of it than its head and the directory of an archive.
    `path` is for messages only.
    """
    head = bytes(data[:HEAD_N_BYTES])
    if head and not any(head):
        return _zeros(len(head))
    return _archive(data, head, path) or _weights(head) or _by_magic(head) or recognise_text(data)


def _zeros(n_bytes: int) -> OtherFormat:
    return OtherFormat(
        f"a file that begins with {n_bytes:,} zeros",
        "A download that reserves its space looks like this until it is complete: let it finish, "
        "or download the file again and compare its SHA-256.",
    )


def _by_magic(head: bytes) -> OtherFormat | None:
    return next((found for magic, found in MAGICS if head.startswith(magic)), None)


def _weights(head: bytes) -> OtherFormat | None:
    """Formats that no magic at the start tells."""
    if head[6:8] == b"\0\0" and head[8:10] in (b'{"', b"{ "):  # a length (u64), then JSON
        return OtherFormat("safetensors weights", CONVERT)
    if head[257:262] == b"ustar":
        return OtherFormat("a tar archive", UNPACK)
    if _names_a_weight(head):
        return OtherFormat("an importance matrix (imatrix)", QUANTIZE)
    return None


def _archive(data: Buffer, head: bytes, path: str) -> OtherFormat | None:
    """A zip archive, which may have a program before it: a llamafile."""
    is_program = head.startswith((b"MZ", b"\x7fELF"))
    if not is_program and not head.startswith(b"PK\x03\x04"):
        return None
    models = gguf_names(data)
    if models:
        what = "a llamafile: a program" if is_program else "a zip archive"
        command = shell_command("unzip", path, models[0])
        return OtherFormat(
            f"{what} with {', '.join(models)} inside",
            f"Unpack that file and give it instead: {command}",
        )
    if head.startswith(LLAMAFILE) and not has_directory(data):
        return OtherFormat(
            "a llamafile that is incomplete: the list of its files, at its end, is missing",
            "Let the download finish, or download the file again and compare its SHA-256.",
        )
    if is_program:
        return None
    if has_pickle(data):
        return OtherFormat("a PyTorch checkpoint", CONVERT)
    return OtherFormat("a zip archive, perhaps a PyTorch checkpoint", CONVERT)


def _names_a_weight(head: bytes) -> bool:
    """An old imatrix begins: number of entries (i32), length of a name (i32), the name.

    common/imatrix-loader.cpp:10-32.
    """
    if len(head) < 8:
        return False
    n_entries, n_bytes = struct.unpack_from("<ii", head)
    return n_entries > 0 and 0 < n_bytes < 100 and b".weight" in head[8 : 8 + n_bytes]
