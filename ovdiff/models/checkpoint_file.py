"""The file of a detector's checkpoint: a local file, or one that is fetched from an https address once.

Never imports torch before a file is looked for.
"""

import hashlib
import logging
from pathlib import Path, PurePosixPath
from typing import IO
from urllib.parse import urlsplit

import requests

from converters.files.atomic import delete_left_overs, whole_file
from ovdiff.errors import WeightsError
from ovdiff.models.weights import locate
from ovdiff.presets.model_settings import CheckpointSettings

_TIMEOUT_S = (10, 60)  # The first is for connecting, the second for the wait between two pieces of the file.
_PIECE_BYTES = 1 << 20

_log = logging.getLogger(__name__)


def checkpoint_file(settings: CheckpointSettings, terms: str, folder: Path | None = None) -> Path:
    """Return a checkpoint's local file. A file at an https address is fetched once.

    Cost: if ``settings.sha256`` is given the whole file is read. Fetching takes as long as the network needs.

    Args:
        settings: the source, and perhaps a SHA-256.
        terms: the terms of the weights' licence, in words; they are logged before the file is fetched.
        folder: where a fetched file is kept; ``None`` means torch's cache.

    Raises:
        WeightsError: there is no such file, it cannot be fetched, or it has another SHA-256.
    """
    path = locate(settings)
    if path is not None:
        _check_sha256(path, settings.sha256, settings.source)
        return path
    path = cached_checkpoint(settings.source) if folder is None else folder / file_name(settings.source)
    if path.is_file():
        _check_sha256(path, settings.sha256, f"{settings.source} (in {path})")
        return path
    _log.warning("fetching %s into %s; terms of these weights: %s", settings.source, path.parent, terms)
    _fetch(settings.source, path, settings.sha256)
    return path


def cached_checkpoint(address: str) -> Path:
    """Return the path that a fetched file has in torch's cache, whether or not it is there.

    Two addresses never share a path, whatever their files' names.
    """
    import torch.hub

    folder = hashlib.sha256(address.encode()).hexdigest()[:16]
    return Path(torch.hub.get_dir()) / "ovdiff" / folder / file_name(address)


def file_name(address: str) -> str:
    """Return the name of a file at an address."""
    return PurePosixPath(urlsplit(address).path).name or "checkpoint"


def _fetch(address: str, path: Path, sha256: str) -> None:
    """Fetch a file. It appears at ``path`` when it is complete and has the right SHA-256."""
    try:
        delete_left_overs(path.parent)
        with whole_file(path) as file:
            _stream(address, file)
            file.flush()
            _check_sha256(Path(file.name), sha256, address)
    except OSError as error:  # Errors of the disk and of the network: those of requests are OSErrors too.
        raise WeightsError(
            f"{address} cannot be fetched: {error}. Download it by hand, and give the file's path as the source."
        ) from error


def _stream(address: str, file: IO[bytes]) -> None:
    with requests.get(address, stream=True, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        if address.startswith("https://") and not response.url.startswith("https://"):
            raise WeightsError(f"{address} leads to {response.url}, which is not https. Give another address.")
        for piece in response.iter_content(_PIECE_BYTES):
            file.write(piece)


def _check_sha256(path: Path, expected: str, source: str) -> None:
    if not expected:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected.lower():
        raise WeightsError(
            f"{source} has the SHA-256 {found}; the preset's sha256 is {expected}. The file is damaged, or is another "
            f"file: delete it and fetch it again, or correct the preset."
        )
