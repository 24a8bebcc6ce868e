"""A file system in user space over a folder, in which chosen operations fail.

    python -m tests.writing.fuse_server BACKING MOUNTED

Speaks the protocol of /dev/fuse (linux/fuse.h, version 7.31). Each line of standard input is a JSON
list of faults, which replaces the one before and is answered with an empty line: objects with the
operation (`op`, as in `OPERATIONS`), the error (`errno`), optionally the name of the file, and
optionally the byte `at` from which reads and writes of it fail; a read fails if it has that byte.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from select import select
from typing import Any

OPERATIONS = {
    1: "lookup",
    3: "getattr",
    4: "setattr",
    9: "mkdir",
    10: "unlink",
    11: "rmdir",
    12: "rename",
    13: "link",
    14: "open",
    15: "read",
    16: "write",
    17: "statfs",
    18: "release",
    20: "fsync",
    26: "init",
    27: "opendir",
    28: "readdir",
    29: "release",
    30: "fsyncdir",
    35: "create",
}
"""By opcode (enum fuse_opcode). The kernel does without the others, or reports them as missing."""
WITHOUT_REPLY = (2, 36, 42)
"""FORGET, INTERRUPT and BATCH_FORGET."""
IN, OUT = struct.Struct("=IIQQIIIHH"), struct.Struct("=IiQ")
ATTR = struct.Struct("=QQQQQQIIIIIIIIII")
ROOT = 1
REQUEST_N_BYTES = (1 << 17) + 4096
MODE, UID, GID, SIZE = 1, 2, 4, 8
"""Bits of `valid` in a request of setattr."""


class FaultyFolder:
    """The operations. Nodes are inodes of the folder below, held open by O_PATH descriptors."""

    def __init__(self, backing: str) -> None:
        self.faults: list[dict[str, Any]] = []
        self._nodes = {ROOT: os.open(backing, os.O_PATH)}
        self._names: dict[int, str] = {}

    def answer(self, opcode: int, node: int, body: bytes) -> bytes:
        """The reply to a request. Raises OSError."""
        name = OPERATIONS.get(opcode)
        if name is None:
            raise OSError(errno.ENOSYS, "")
        self._fail(name, node, body)
        operate: Callable[[int, bytes], bytes] = getattr(self, name)
        return operate(node, body)

    def _fail(self, op: str, node: int, body: bytes) -> None:
        for fault in self.faults:
            if fault["op"] != op or fault.get("name", self._names.get(node)) != self._names.get(
                node
            ):
                continue
            if "at" in fault:
                _, start, n_bytes = struct.unpack_from("=QQI", body)
                begins_before = op == "write" or start <= fault["at"]
                if not (begins_before and fault["at"] < start + n_bytes):
                    continue
            raise OSError(fault["errno"], "")

    def _path(self, node: int, name: bytes = b"") -> Path:
        """A node, or what has a name in it."""
        return Path(f"/proc/self/fd/{self._nodes[node]}", os.fsdecode(name.rstrip(bytes(1))))

    def _entry(self, path: Path) -> bytes:
        """fuse_entry_out, without caching."""
        status = path.lstat()
        if status.st_ino not in self._nodes:
            self._nodes[status.st_ino] = os.open(path, os.O_PATH | os.O_NOFOLLOW)
        self._names[status.st_ino] = path.name
        return struct.pack("=QQQQII", status.st_ino, 0, 0, 0, 0, 0) + attributes(status)

    def init(self, node: int, body: bytes) -> bytes:
        big_writes = 1 << 5
        return struct.pack("=IIIIHHIIHHI28x", 7, 31, 1 << 17, big_writes, 0, 0, 1 << 17, 1, 0, 0, 0)

    def lookup(self, node: int, body: bytes) -> bytes:
        return self._entry(self._path(node, body))

    def getattr(self, node: int, body: bytes) -> bytes:
        return bytes(16) + attributes(os.fstat(self._nodes[node]))

    def setattr(self, node: int, body: bytes) -> bytes:
        valid, _, _, size = struct.unpack_from("=IIQQ", body)
        mode, _, uid, gid = struct.unpack_from("=IIII", body, 68)
        if valid & MODE:
            self._path(node).chmod(mode & 0o7777)
        if valid & (UID | GID):
            os.chown(self._path(node), uid if valid & UID else -1, gid if valid & GID else -1)
        if valid & SIZE:
            os.truncate(self._path(node), size)
        return self.getattr(node, body)

    def mkdir(self, node: int, body: bytes) -> bytes:
        path = self._path(node, body[8:])
        path.mkdir()
        return self._entry(path)

    def unlink(self, node: int, body: bytes) -> bytes:
        self._path(node, body).unlink()
        return b""

    def rmdir(self, node: int, body: bytes) -> bytes:
        self._path(node, body).rmdir()
        return b""

    def rename(self, node: int, body: bytes) -> bytes:
        (folder,) = struct.unpack_from("=Q", body)
        old, new, _ = body[8:].split(b"\0")
        self._path(node, old).rename(self._path(folder, new))
        self._entry(self._path(folder, new))
        return b""

    def link(self, node: int, body: bytes) -> bytes:
        (linked,) = struct.unpack_from("=Q", body)
        path = self._path(node, body[8:])
        os.link(self._path(linked), path, src_dir_fd=self._nodes[linked], follow_symlinks=True)
        return self._entry(path)

    def open(self, node: int, body: bytes) -> bytes:
        (flags,) = struct.unpack_from("=I", body)
        return opened(os.open(self._path(node), flags & ~(os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW)))

    def create(self, node: int, body: bytes) -> bytes:
        flags, mode, umask, _ = struct.unpack_from("=IIII", body)
        path = self._path(node, body[16:])
        descriptor = os.open(path, flags | os.O_CREAT, mode & ~umask)
        return self._entry(path) + opened(descriptor)

    def read(self, node: int, body: bytes) -> bytes:
        descriptor, offset, n_bytes = struct.unpack_from("=QQI", body)
        return os.pread(descriptor, n_bytes, offset)

    def write(self, node: int, body: bytes) -> bytes:
        descriptor, offset, n_bytes = struct.unpack_from("=QQI", body)
        return struct.pack("=II", os.pwrite(descriptor, body[40 : 40 + n_bytes], offset), 0)

    def statfs(self, node: int, body: bytes) -> bytes:
        found = os.statvfs(self._path(node))
        counts = found.f_blocks, found.f_bfree, found.f_bavail, found.f_files, found.f_ffree
        return struct.pack("=QQQQQIII28x", *counts, found.f_bsize, found.f_namemax, found.f_frsize)

    def release(self, node: int, body: bytes) -> bytes:
        os.close(*struct.unpack_from("=Q", body))
        return b""

    def fsync(self, node: int, body: bytes) -> bytes:
        return b""

    fsyncdir = fsync

    def opendir(self, node: int, body: bytes) -> bytes:
        return opened(os.open(self._path(node), os.O_RDONLY | os.O_DIRECTORY))

    def readdir(self, node: int, body: bytes) -> bytes:
        _, start, n_bytes = struct.unpack_from("=QQI", body)
        reply = b""
        for offset, path in list(enumerate(sorted(self._path(node).iterdir()), 1))[start:]:
            raw = os.fsencode(path.name)
            entry = struct.pack("=QQII", path.lstat().st_ino, offset, len(raw), 0) + raw
            entry += bytes(-len(entry) % 8)
            if len(reply) + len(entry) > n_bytes:
                break
            reply += entry
        return reply


def attributes(status: os.stat_result) -> bytes:
    """fuse_attr."""
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    seconds, rest = zip(*(divmod(time, 10**9) for time in times), strict=True)
    owner = status.st_mode, status.st_nlink, status.st_uid, status.st_gid
    size = status.st_ino, status.st_size, status.st_blocks
    return ATTR.pack(*size, *seconds, *rest, *owner, 0, status.st_blksize, 0)


def opened(descriptor: int) -> bytes:
    """fuse_open_out. What is read is cached until the file is opened again."""
    return struct.pack("=QII", descriptor, 0, 0)


def serve(device: int, folder: FaultyFolder) -> None:
    """Answer requests until the file system is unmounted, or standard input ends."""
    while True:
        ready, _, _ = select([device, 0], [], [])
        if 0 in ready:
            line = os.read(0, 1 << 16)
            if not line:
                return
            folder.faults = json.loads(line)
            os.write(1, b"\n")
            continue
        try:
            request = os.read(device, REQUEST_N_BYTES)
        except OSError as error:
            if error.errno == errno.ENODEV:  # unmounted
                return
            continue
        reply(device, folder, request)


def reply(device: int, folder: FaultyFolder, request: bytes) -> None:
    _, opcode, unique, node, *_ = IN.unpack_from(request)
    if opcode in WITHOUT_REPLY:
        return
    try:
        number, data = 0, folder.answer(opcode, node, request[IN.size :])
    except OSError as error:
        number, data = -(error.errno or errno.EIO), b""
    try:
        os.write(device, OUT.pack(OUT.size + len(data), number, unique) + data)
    except OSError as error:
        if error.errno != errno.ENOENT:  # the request was interrupted
            raise


def main(backing: str, mounted: str) -> None:
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id={os.getuid()},group_id={os.getgid()}"
    library = ctypes.CDLL(None, use_errno=True)
    if library.mount(b"faulty", os.fsencode(mounted), b"fuse", 0, options.encode()):
        sys.exit(os.strerror(ctypes.get_errno()))
    os.write(1, b"\n")
    serve(device, FaultyFolder(backing))


if __name__ == "__main__":
    main(*sys.argv[1:])
