"""A model over a runner: what every method of a loaded model needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ggufsurgeon.container.gguf_file import GgufFile
from ggufsurgeon.errors import UsageError
from ggufsurgeon.layer_path.edits import AnyPath
from ggufsurgeon.layer_path.outside import OutsideBlocks
from ggufsurgeon.layer_path.path import LayerPath
from ggufsurgeon.planning.resolving import resolve_path
from ggufsurgeon.rules.blocks import find_blocks

if TYPE_CHECKING:
    from ggufsurgeon.engine.devices.offload import Offload
    from ggufsurgeon.engine.model import Devices
    from ggufsurgeon.workers.model_paths import ModelPaths
    from ggufsurgeon.workers.runner import InProcess
    from ggufsurgeon.workers.worker import Worker


class ModelOverRunner:
    """A file, others that paths take blocks of, their devices, and the runner that loads them."""

    def __init__(
        self,
        file: GgufFile,
        devices: Devices,
        runner: Worker | InProcess,
        others: Sequence[GgufFile] = (),
        outside: OutsideBlocks | None = None,
    ) -> None:
        self._file = file
        self._others = tuple(others)
        self._outside = outside
        self._devices = devices
        self._runner = runner

    @property
    def path(self) -> Path:
        """The file of the model."""
        return self._file.path

    @property
    def _models(self) -> ModelPaths:
        """The files of all models, for jobs."""
        from ggufsurgeon.workers.model_paths import ModelPaths

        others = tuple(file.path for file in self._others)
        return ModelPaths(self.path, others, self._outside)

    @property
    def is_lost(self) -> bool:
        """Whether the worker process has ended, with the model: load the model again."""
        return self._runner.is_lost

    def offload(self) -> Offload:
        """The GPUs that the layers go to, in the order of their shares, without loading the model.

        Raises UsageError when devices that were asked for are missing.
        """
        from ggufsurgeon.workers.offload_job import offload_of

        return self._runner.run(offload_of, self._devices)

    def layer_path(self, path: AnyPath) -> LayerPath:
        """A layer path of these models in full. Raises UsageError when it does not fit them."""
        return self._over(path)

    def _over(self, path: AnyPath | None) -> LayerPath:
        """A layer path of these models in full; None is that of the unmodified first model."""
        if path is None:
            return LayerPath.identity(find_blocks(self._file).n_trunk)
        return resolve_path(self._file, path, self._others)

    def _check_alone(self, what: str) -> None:
        """Raise UsageError when other models are loaded beside the first."""
        if self._others:
            raise UsageError(
                f"{what} takes blocks of one model, and {len(self._others) + 1} are loaded",
                hint="Write the file of a layer path over several models, and load that.",
            )
