"""The bytes of a remote file from any place on: over http(s), or through fsspec for every other URL.

What goes wrong is sorted by what helps: `Interrupted` may go well next time, `RangeIgnored` goes well from the start,
`FileNotFoundError`, `PermissionError` and any other `OSError` do not go away by themselves. None of them has an ``errno``,
which tells them from errors of this machine's disk.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Generator, Mapping
from typing import Any

from moon_zoo.data import remote

Bytes = Generator[bytes, None, None]
Reader = Callable[[int], Bytes]
"""Given an offset, a file's bytes from there on. An offset at or past the end gives none."""

CHUNK_BYTES = 1 << 20
TIMEOUT_SECONDS = 20.0
"""Without a single byte. A server that is alive but slow is waited for."""

_AHEAD_BYTES = 8 << 20
"""What fsspec asks object storage for at once: a request costs some 50 ms there, whatever its size."""


class Interrupted(OSError):
    """It broke off, and may go well next time.

    Args:
        reason: What happened.
        wait_seconds: How long the server asked to be left alone, where it did.
    """

    def __init__(self, reason: str, wait_seconds: float = 0.0) -> None:
        super().__init__(reason)
        self.wait_seconds = wait_seconds


class RangeIgnored(OSError):
    """The server cannot begin in the middle of the file."""


def open_url(
    url: str, offset: int = 0, *, headers: Mapping[str, str] | None = None, timeout_seconds: float | None = None
) -> Bytes:
    """The bytes of ``url`` from ``offset`` on, in chunks.

    Args:
        url: ``http(s)://``, or any URL that fsspec reads.
        offset: Where to begin.
        headers: For http(s) only; ``Authorization`` is not sent on to another host.
        timeout_seconds: How long to wait for a connection or for the next byte, http(s) only; None takes
            `TIMEOUT_SECONDS`.

    Raises:
        Interrupted: The connection or the server failed.
        RangeIgnored: The server sends the file from its start only; ask with offset 0.
        FileNotFoundError: There is no such file.
        PermissionError: The server wants to know who asks, or does not want to answer them.
        OSError: Anything else that trying again does not mend.
    """
    if url.startswith(("http://", "https://")):
        return _http(url, offset, headers or {}, TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds)
    return _fsspec(url, offset)


# http ------------------------------------------------------------------------------------------------------------------


def _http(url: str, offset: int, headers: Mapping[str, str], timeout_seconds: float) -> Bytes:
    import httpx2

    # Compressed transfer would make offsets meaningless, and safetensors hardly shrink.
    asked = {"Accept-Encoding": "identity", "User-Agent": "moon-zoo", **headers}
    if offset:
        asked["Range"] = f"bytes={offset}-"
    try:
        with (
            httpx2.Client(follow_redirects=True, timeout=timeout_seconds, verify=_certificates()) as client,
            client.stream("GET", url, headers=asked) as response,
        ):
            if response.status_code == 416:  # nothing from there on
                return
            _check_answer(response, url, offset)
            encoded = response.headers.get("Content-Encoding", "identity") != "identity"
            if encoded and offset:
                raise RangeIgnored(f"{url} is sent compressed")
            yield from response.iter_bytes() if encoded else response.iter_raw()
    except httpx2.TimeoutException as error:
        raise Interrupted(f"{url}: nothing came within {timeout_seconds:g} s") from error
    except (httpx2.InvalidURL, httpx2.UnsupportedProtocol, httpx2.TooManyRedirects) as error:
        raise OSError(f"{url} cannot be read: {error}") from error
    except httpx2.RequestError as error:
        raise Interrupted(f"{url}: {error or type(error).__name__}") from error


@functools.cache
def _certificates() -> Any:
    """Reading a system's certificates takes 50 ms, so that is done once per process."""
    import httpx2

    return httpx2.create_ssl_context()


def _check_answer(response: Any, url: str, offset: int) -> None:
    status = response.status_code
    answered = f"{url} answered {status} {response.reason_phrase}".rstrip()
    if url.startswith("https://") and response.url.scheme != "https":
        raise OSError(f"{url} leads to {response.url}, where anyone on the way could change what is read")
    if status in (404, 410):
        raise FileNotFoundError(answered)
    if status in (401, 403):
        raise PermissionError(answered)
    if status in (408, 425, 429) or status >= 500:
        raise Interrupted(answered, _seconds(response.headers.get("Retry-After")))
    if status not in (200, 206):
        raise OSError(answered)
    if offset and (status == 200 or _first_byte(response.headers.get("Content-Range")) != offset):
        raise RangeIgnored(f"{url} sends whole files only")


def _first_byte(content_range: str | None) -> int | None:
    """5 of ``bytes 5-9/10``."""
    first = (content_range or "").removeprefix("bytes ").partition("-")[0]
    return int(first) if first.isdigit() else None


def _seconds(retry_after: str | None) -> float:
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else 0.0  # it may also be a date


# everything else -------------------------------------------------------------------------------------------------------

_LASTING = ("NoCredentialsError", "PartialCredentialsError", "ParamValidationError", "ProfileNotFound")
"""Errors of botocore that no second try mends; named, so that it need not be installed."""


def _fsspec(url: str, offset: int) -> Bytes:
    try:
        fs, path = remote.file_system(url)
        # Otherwise s3fs answers from a listing of its own, also after the hub was published to.
        fs.invalidate_cache()
        with fs.open(path, "rb", block_size=_AHEAD_BYTES) as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                yield chunk
    except ImportError as error:
        extra = "s3" if url.startswith("s3://") else None
        advice = f'; pip install "moon-zoo[{extra}]"' if extra else ""
        raise OSError(f"{url} needs a package that is not installed ({error}){advice}") from error
    except FileNotFoundError as error:
        raise FileNotFoundError(f"there is no {url}") from error  # without a number, which means this machine's disk
    except PermissionError as error:
        raise PermissionError(f"{url} may not be read: {error}") from error
    except ValueError as error:  # an unknown protocol, a malformed bucket, an offset that is not there
        raise OSError(f"{url} cannot be read: {error}") from error
    except Exception as error:
        # Every file system behind fsspec has its own exceptions; most mean the network.
        if type(error).__name__ in _LASTING:
            raise OSError(f"{url} cannot be read: {error}") from error
        raise Interrupted(f"{url}: {error or type(error).__name__}") from error
