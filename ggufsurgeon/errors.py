"""The exception tree, one exit code for each class.

    GgufSurgeonError          1  a bug, if it reaches the user as such
    ├── UsageError            2  the request itself is wrong
    │   ├── UnfitWorkerError  2  a worker of an executor lacks what others may have
    │   └── UnmatchedModelsError   2  a recipe names models that no files are given for
    ├── MalformedFileError    3  a file is not what the GGUF format or llama.cpp asks for
    │   └── NotFiniteError    3  what a model computes is not finite numbers
    ├── RefusedError          4  no exact file exists, or a file would be overwritten
    │   ├── LostError         4  a patched file lacks what its source had
    │   ├── OtherBaseError    4  a companion names another base model than the one it is to follow
    │   └── InterruptedEditError   4  an edit in place is unfinished: run `recover`
    ├── WriteFailedError      5  the system could not write; `state` describes the destination
    ├── VerificationError     7  a file does not hold what it claims
    ├── MissingExtraError     8  an optional dependency is not installed, or does not load
    ├── AliasingUnavailableError   8  this llama.cpp, or this system, cannot run aliased models
    └── EngineError           9  llama.cpp's process died, and no file is to blame
        └── OutOfMemoryError  6  memory ran out: of the machine, a container or a device

A message says what is wrong and where; `state` says what the files look like now and
`hint` what to do next.
"""

from __future__ import annotations

from typing import Any


class GgufSurgeonError(Exception):
    """Base of every error that is meant for the user.

    `exit_code` is that of the command line, `state` says what files look like now, and `hint` what
    to do next.

    >>> import ggufsurgeon as gs
    >>> try:
    ...     gs.open("missing.gguf")
    ... except gs.GgufSurgeonError as error:
    ...     print(error.exit_code, error)
    2 missing.gguf: cannot be opened: No such file or directory
    """

    exit_code = 1
    state = ""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint

    def __reduce__(self) -> tuple[Any, ...]:
        """Support pickling for any constructor of a subclass: worker processes send errors."""
        return _revive, (type(self), self.args, self.__dict__)


def _revive(kind: type[GgufSurgeonError], args: Any, state: dict[str, Any]) -> GgufSurgeonError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(GgufSurgeonError):
    """The request is wrong: an unreadable source, a window outside the model."""

    exit_code = 2


class UnfitWorkerError(UsageError):
    """A worker of an executor cannot do what another may: it has another file, version or CPU."""


class UnmatchedModelsError(UsageError):
    """A recipe takes blocks or other parts of several models, and files are missing for some."""


class SeveralNumbersError(UsageError):
    """A file has the header of several models of a layer path: a number must tell which it is."""


class MalformedFileError(GgufSurgeonError):
    """A file breaks a rule of the format; names the file and, where there is one, the offset."""

    exit_code = 3

    def __init__(
        self, path: str, problem: str, *, offset: int | None = None, hint: str = ""
    ) -> None:
        where = "" if offset is None else f", at byte {offset}"
        super().__init__(f"{path}{where}: {problem}", hint=hint)
        self.path = path
        self.offset = offset


class NotFiniteError(MalformedFileError):
    """The logits of a model are not finite numbers: its weights or metadata are broken, or the
    layer path breaks it."""


class RefusedError(GgufSurgeonError):
    """The request cannot be carried out exactly, or would overwrite a file."""

    exit_code = 4
    state = "Nothing was written."


class LostError(RefusedError):
    """A patched file does not hold all that its source did: the patch has no inverse."""


class OtherBaseError(RefusedError):
    """The metadata of a companion name another base model than the one that was given."""


class InterruptedEditError(RefusedError):
    """A model was being edited in place, and the edit is neither finished nor undone."""

    state = "The model may be neither the old nor the new one."


class WriteFailedError(GgufSurgeonError):
    """The operating system refused or failed a write."""

    exit_code = 5
    state = "The destination is as it was."


class VerificationError(GgufSurgeonError):
    """A check on a file did not hold."""

    exit_code = 7


class MissingExtraError(GgufSurgeonError):
    """An optional dependency is needed, and is absent or cannot be loaded."""

    exit_code = 8


class AliasingUnavailableError(GgufSurgeonError):
    """This llama.cpp, or this system, cannot run a model over the weights of another.

    The same path can be run routed.
    """

    exit_code = 8


class EngineError(GgufSurgeonError):
    """llama.cpp's process crashed in a job, and no file is to blame."""

    exit_code = 9


class OutOfMemoryError(EngineError):
    """Memory ran out, or llama.cpp's process was killed, as systems do when it runs out.

    Where llama.cpp could say so itself, its process lives on.
    """

    exit_code = 6


class PermissionsWarning(UserWarning):
    """A file is written and complete, without the permissions of the file that it replaced."""
