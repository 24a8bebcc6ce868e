"""The models of a server by name, and the one worker that runs their requests in turn."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ggufsurgeon.aliasing.placement import Placement
from ggufsurgeon.api.loaded_models.loaded_model import LoadedModel, load
from ggufsurgeon.architectures.table import find_architecture
from ggufsurgeon.container.gguf_file import open_gguf
from ggufsurgeon.engine.model import Devices
from ggufsurgeon.inference.contexts import ContextSettings
from ggufsurgeon.inference.requests import RequestKind
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.rules.whole_models.preconditions import check_is_language_model

Chunk = dict[str, Any]


class ClientGoneError(Exception):
    """The client of a stream has closed its connection: the job is to be stopped."""


class Service:
    """Layer paths over one loaded model or several, by name. Requests run one after the other.

    A request on which llama.cpp crashes fails alone: the next one loads the model again.
    """

    def __init__(
        self,
        path: Path,
        paths: Mapping[str, AnyPath | None],
        settings: ContextSettings,
        devices: Devices,
        others: Sequence[Path] = (),
    ) -> None:
        self.paths = paths
        self._path = path
        self._others = others
        self._settings = settings
        self._devices = devices
        self._loaded: LoadedModel | None = None
        self._turn = asyncio.Lock()
        self._streams: set[asyncio.Task[None]] = set()

    def start(self) -> tuple[Placement, ...]:
        """Load the model, and make the context of the first name; its devices."""
        name, layer_path = next(iter(self.paths.items()))
        file = open_gguf(self._path)
        check_is_language_model(file)
        architecture = find_architecture(file.header.architecture)
        kind = RequestKind.EMBEDDING if architecture.is_encoder else RequestKind.COMPLETION
        if self._settings.chat_format is not None:
            kind = RequestKind.CHAT  # so that a format of an unknown name is refused now
        return self.model().prepare(kind, layer_path, name=name, settings=self._settings)

    def close(self) -> None:
        """End the worker, whatever it computes."""
        if self._loaded is not None:
            self._loaded.__exit__()

    async def answer(self, kind: RequestKind, name: str, arguments: Mapping[str, Any]) -> Any:
        """The response to a request. Raises what `LoadedModel.request` raises."""
        async with self._turn:
            return await asyncio.to_thread(self._run, kind, name, arguments)

    async def stream(
        self, kind: RequestKind, name: str, arguments: Mapping[str, Any], has_usage: bool
    ) -> AsyncIterator[Chunk]:
        """The chunks of the response to a request, with `has_usage` one that counts its tokens.

        When the iterator is closed the job stops.
        """
        loop = asyncio.get_running_loop()
        chunks: asyncio.Queue[Chunk | Exception | None] = asyncio.Queue()
        is_gone = threading.Event()

        def take(chunk: Chunk) -> None:
            if is_gone.is_set():
                raise ClientGoneError
            loop.call_soon_threadsafe(chunks.put_nowait, chunk)

        async def run() -> None:
            async with self._turn:
                if is_gone.is_set():
                    return
                try:
                    await asyncio.to_thread(self._run, kind, name, arguments, has_usage, take)
                except Exception as error:
                    chunks.put_nowait(error)
                chunks.put_nowait(None)

        task = loop.create_task(run())  # it outlives the connection until the job has stopped
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)
        try:
            while (chunk := await chunks.get()) is not None:
                if isinstance(chunk, Exception):
                    raise chunk
                yield chunk
        finally:
            is_gone.set()

    def _run(
        self,
        kind: RequestKind,
        name: str,
        arguments: Mapping[str, Any],
        has_usage: bool = False,
        on_chunk: Callable[[Chunk], object] | None = None,
    ) -> Any:
        return self.model().request(
            kind,
            arguments,
            self.paths[name],
            name=name,
            settings=self._settings,
            has_usage=has_usage,
            on_chunk=on_chunk,
        )

    def model(self) -> LoadedModel:
        """The loaded model; another one when the process of the last has ended."""
        if self._loaded is None or self._loaded.is_lost:
            self._loaded = load(self._path, self._devices, others=self._others)
        return self._loaded
