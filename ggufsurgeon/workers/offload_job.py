"""A job that finds the GPUs of a model: RPC servers take one client, which is to load it then."""

from __future__ import annotations

from ggufsurgeon.engine.devices.offload import Offload, find_offload
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.workers.session import Reporter, Session


def offload_of(_session: Session, options: Devices, _reporter: Reporter) -> Offload:
    """As `find_offload`."""
    return find_offload(options)
