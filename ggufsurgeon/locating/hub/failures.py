"""What the hub's refusals and the network's failures mean for a user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from urllib.parse import urlsplit

from ggufsurgeon.container.quoting import printable, quoted
from ggufsurgeon.errors import GgufSurgeonError, UsageError, WriteFailedError
from ggufsurgeon.locating.hub.address import HubAddress
from ggufsurgeon.locating.hub.package import import_hub, quiet

LOGIN = "Log in with `hf auth login`, or set HF_TOKEN."
TRY_AGAIN = "Try again; files that are complete in the cache are not downloaded again."


@contextmanager
def explained(address: HubAddress) -> Iterator[ModuleType]:
    """The package huggingface_hub, whose errors in the block are raised as those of this program.

    UsageError for what the hub refuses and for what the network does, WriteFailedError where the
    cache cannot be written.
    """
    package = import_hub(address)
    _check_endpoint(package.constants.ENDPOINT, address)
    try:
        with quiet():
            yield package
    except GgufSurgeonError:
        raise
    except (OSError, ValueError, package.errors.HTTPError) as error:
        raise _explanation(package, address, error) from None


def _check_endpoint(endpoint: str, address: HubAddress) -> None:
    """Raise UsageError for what is no address of a server, to which nothing can connect."""
    try:
        parts = urlsplit(endpoint)
        is_address = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:  # of the port, or of brackets
        is_address = False
    if not is_address:
        raise UsageError(
            f"{address}: HF_ENDPOINT is {quoted(endpoint)}, which is not the address of a server",
            hint="Unset it to use the Hugging Face Hub, or set it to a URL such as "
            "https://huggingface.co.",
        )


def _explanation(
    package: ModuleType, address: HubAddress, error: BaseException
) -> GgufSurgeonError:
    errors = package.errors
    cause = error.__cause__
    if isinstance(error, errors.LocalEntryNotFoundError) and isinstance(cause, Exception):
        return _explanation(package, address, cause)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UsageError(
            f"{address} is not in the cache of huggingface_hub, and HF_HUB_OFFLINE is set",
            hint="Unset HF_HUB_OFFLINE to use the network.",
        )
    if isinstance(error, errors.HfHubHTTPError):
        return _refusal(package, address, error)
    if isinstance(error, errors.FileMetadataError):
        endpoint = package.constants.ENDPOINT
        return UsageError(
            f"{address}: {endpoint} does not answer as the Hugging Face Hub does",
            hint="Check HF_ENDPOINT, and whether a proxy or a login page answers instead.",
        )
    return _failure(package, address, error)


def _refusal(package: ModuleType, address: HubAddress, error: BaseException) -> GgufSurgeonError:
    """The error for a status that the hub answered."""
    errors, endpoint = package.errors, package.constants.ENDPOINT
    status = error.response.status_code  # type: ignore[attr-defined]
    answered = f"the Hub answered {status}"
    if isinstance(error, errors.GatedRepoError):
        problem = f"access to {address.repo} is restricted, and {answered}"
        hint = f"Accept its terms on {endpoint}/{address.repo} first. {LOGIN}"
    elif isinstance(error, errors.RevisionNotFoundError):
        problem = f"{address.repo} has no revision {address.revision!r}"
        hint = "Without @REVISION the branch main is read."
    elif isinstance(error, errors.EntryNotFoundError):
        problem = f"{address.repo} has no file {address.path!r} at revision {address.revision!r}"
        hint = _files_there(address)
    elif isinstance(error, errors.RepositoryNotFoundError) or status == 404:
        problem = f"the Hub has no repository {address.repo}, or it is private ({status})"
        hint = f"Check the name on {endpoint}. A private repository needs a token: {LOGIN}"
    elif status in (401, 403):
        problem = f"the Hub refuses access ({status})"
        hint = f"The token may be wrong, or lack the permission to read {address.repo}. {LOGIN}"
    elif status == 416:
        problem = "the server has fewer bytes of this file than it said (416)"
        hint = TRY_AGAIN
    else:
        problem, hint = answered, TRY_AGAIN
    return UsageError(f"{address}: {problem}", hint=hint)


def _files_there(address: HubAddress) -> str:
    """A hint that names the GGUF files of a repository."""
    from ggufsurgeon.locating.hub.file_list import gguf_names, told_names

    try:
        return told_names(gguf_names(address))
    except GgufSurgeonError:
        return "Its files are listed on its page."


def _failure(package: ModuleType, address: HubAddress, error: BaseException) -> GgufSurgeonError:
    """The error for what happened on the way, or on this machine's disk."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    constants = package.constants
    if "TimeoutException" in kinds:
        seconds = max(constants.HF_HUB_DOWNLOAD_TIMEOUT, constants.HF_HUB_ETAG_TIMEOUT)
        return UsageError(
            f"{address}: the server sent nothing for {seconds} seconds",
            hint="HF_HUB_DOWNLOAD_TIMEOUT and HF_HUB_ETAG_TIMEOUT set how many seconds to wait. "
            f"{TRY_AGAIN}",
        )
    if isinstance(error, OSError) and error.errno is not None and "HTTPError" not in kinds:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        return WriteFailedError(
            f"{address}: cannot be written to {constants.HF_HUB_CACHE}: {error.strerror}",
            hint="HF_HOME names another folder for the cache." if full else "",
        )
    if "ConnectError" in kinds:
        return UsageError(
            f"{address}: {constants.ENDPOINT} cannot be reached: {printable(str(error))}",
            hint="A file that is in the cache is used without the network.",
        )
    if "HTTPError" in kinds or "Consistency check" in str(error):
        return UsageError(
            f"{address}: the connection broke before all bytes were received", hint=TRY_AGAIN
        )
    return UsageError(f"{address}: {printable(str(error))}", hint=TRY_AGAIN)
