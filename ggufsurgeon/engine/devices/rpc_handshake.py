"""A handshake with an RPC server before llama.cpp connects, which would wait for ever or abort.

A request is a command of one byte, a size of 8 bytes and a body of that size; an answer is a size
and a body; all little-endian (ggml/src/ggml-rpc/ggml-rpc.cpp:312-340).
"""

from __future__ import annotations

import socket
import struct

from ggufsurgeon.errors import UsageError

ANSWER_SECONDS = 5
"""Time limit for a server to accept a connection, and to answer."""
HELLO = 14
"""`RPC_CMD_HELLO`, the same in all versions (ggml-rpc.cpp:84)."""
CAPABILITIES_N_BYTES = 24
"""`RPC_CONN_CAPS_SIZE`, ggml/src/ggml-rpc/transport.h:11; zeros ask for plain TCP."""
MAX_ANSWER_N_BYTES = 256
"""An answer to HELLO is 28 bytes today: 4 of the version, then capabilities."""
NOT_A_SERVER = (
    "Start llama.cpp's rpc-server there, from the same version of llama.cpp, and name its port."
)


def check_rpc_server(host: str) -> None:
    """Raise UsageError with the reason unless an RPC server of llama.cpp answers at HOST:PORT."""
    address = _parse(host)
    try:
        with socket.create_connection(address, ANSWER_SECONDS) as connection:
            connection.settimeout(ANSWER_SECONDS)
            _greet(connection, host)
    except TimeoutError:
        raise UsageError(
            f"RPC server {host}: no answer within {ANSWER_SECONDS} seconds",
            hint="Is it a llama.cpp rpc-server? It serves one client at a time: is it in use?",
        ) from None
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise UsageError(f"RPC server {host}: {reason}", hint=NOT_A_SERVER) from None


def _parse(host: str) -> tuple[str, int]:
    """The name and port of HOST:PORT, as llama.cpp reads it: no IPv6 (ggml-rpc.cpp:297-310)."""
    name, _, port = host.partition(":")
    if not name or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
        raise UsageError(f"RPC server {host!r}: expected HOST:PORT, for instance 192.168.1.7:50052")
    return name, int(port)


def _greet(connection: socket.socket, host: str) -> None:
    connection.sendall(struct.pack("<BQ", HELLO, CAPABILITIES_N_BYTES))
    connection.sendall(bytes(CAPABILITIES_N_BYTES))
    size = _receive(connection, 8)
    n_bytes = struct.unpack("<Q", size)[0] if len(size) == 8 else 0
    if not 3 <= n_bytes <= MAX_ANSWER_N_BYTES or len(_receive(connection, n_bytes)) < n_bytes:
        raise UsageError(
            f"RPC server {host}: what answers there does not speak llama.cpp's RPC protocol",
            hint=NOT_A_SERVER,
        )


def _receive(connection: socket.socket, n_bytes: int) -> bytes:
    """The next `n_bytes` bytes, or fewer when the other side closes the connection."""
    received = b""
    while len(received) < n_bytes and (part := connection.recv(n_bytes - len(received))):
        received += part
    return received
