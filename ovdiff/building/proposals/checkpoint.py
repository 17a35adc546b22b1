"""A detector's checkpoint: where its file is, which weights it holds, and whether these are the model's.

Nothing is unpickled: ``.safetensors`` files hold only tensors, and other files are read with ``weights_only=True``.
"""

import hashlib
import logging
import pickle
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, Any
from urllib.parse import urlsplit

import requests
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from converters.files.atomic import delete_left_overs, whole_file
from ovdiff.errors import WeightsError
from ovdiff.models.weights import locate
from ovdiff.presets.model_settings import CheckpointSettings

_TIMEOUT_S = (10, 60)  # The first is for connecting, the second for the wait between two pieces of the file.
_PIECE_BYTES = 1 << 20
_CONSTANTS = ("pixel_mean", "pixel_std", "proposal_generator.anchor_generator.")
"""Entries that older versions of detectron2 stored beside the weights. They are constants, which are computed here."""

_log = logging.getLogger(__name__)


def checkpoint_file(settings: CheckpointSettings, terms: str) -> Path:
    """Return a checkpoint's local file. A file at an https address is fetched into torch's cache, once.

    Cost: if ``settings.sha256`` is given the whole file is read. Fetching takes as long as the network needs.

    Args:
        settings: the source, and perhaps a SHA-256.
        terms: the terms of the weights' licence, in words; they are logged before the file is fetched.

    Raises:
        WeightsError: there is no such file, it cannot be fetched, or it has another SHA-256.
    """
    path = locate(settings)
    if path is not None:
        _check_sha256(path, settings.sha256, settings.source)
        return path
    path = _cached(settings.source)
    if path.is_file():
        _check_sha256(path, settings.sha256, f"{settings.source} (in {path})")
        return path
    _log.warning("fetching %s into %s; terms of these weights: %s", settings.source, path.parent, terms)
    _fetch(settings.source, path, settings.sha256)
    return path


def read_checkpoint(path: Path) -> dict[str, Tensor]:
    """Return a checkpoint's weights by name: the tensors under its key "model", or else the tensors at its top.

    Raises:
        WeightsError: the file cannot be read without unpickling code, or holds anything but tensors.
    """
    try:
        content = _read(path)
    except (OSError, RuntimeError, ValueError, KeyError, EOFError, pickle.UnpicklingError, SafetensorError) as error:
        reason = (str(error).strip() or repr(error)).splitlines()[0]
        raise WeightsError(
            f"{path} cannot be read as a checkpoint: {reason} "
            f"Give a .safetensors file, or a file that torch.load reads with weights_only=True. If you trust a pickle "
            f"of other objects, load it yourself and save its tensors in one of these formats."
        ) from error
    weights = content.get("model", content) if isinstance(content, Mapping) else content
    if not isinstance(weights, Mapping) or not weights:
        raise WeightsError(f"{path} holds {_kind(weights)}; expected tensors by name, at its top or under 'model'.")
    for name, value in weights.items():
        if not isinstance(value, Tensor):
            raise WeightsError(f"{path} holds {_kind(value)} under {name!r}; expected nothing but tensors.")
    return {str(name): value for name, value in weights.items()}


def load_weights(model: nn.Module, weights: Mapping[str, Tensor], path: Path) -> None:
    """Load weights into a model; the names must be exactly those of the model.

    Args:
        model: the model, which may be on the meta device. The weights keep their dtype.
        weights: the weights by name.
        path: the file of the weights, for the error's message.

    Raises:
        WeightsError: entries are missing, unknown or of another shape. The message gives their number and the first.
    """
    weights = {name: value for name, value in weights.items() if not name.startswith(_CONSTANTS)}
    expected = model.state_dict()
    shapes = [
        f"{name!r} {tuple(weights[name].shape)} instead of {tuple(value.shape)}"
        for name, value in expected.items()
        if name in weights and weights[name].shape != value.shape
    ]
    problems = [
        *_problem("missing", [repr(name) for name in expected.keys() - weights.keys()]),
        *_problem("unknown", [repr(name) for name in weights.keys() - expected.keys()]),
        *_problem("of another shape", shapes),
    ]
    if problems:
        raise WeightsError(
            f"{path} is not a checkpoint of this {type(model).__name__} with its {len(expected)} entries: "
            f"{'; '.join(problems)}. Give the file that belongs to the model."
        )
    model.load_state_dict(weights, assign=True)


def _problem(what: str, entries: Iterable[str]) -> list[str]:
    found = sorted(entries)
    return [f"{len(found)} {what}, such as {found[0]}"] if found else []


def _kind(value: Any) -> str:
    return "nothing" if isinstance(value, Mapping) and not value else f"something of type {type(value).__name__}"


def _read(path: Path) -> Any:
    if path.suffix == ".safetensors":
        return load_file(path)
    return torch.load(path, map_location="cpu", weights_only=True)


def _cached(address: str) -> Path:
    """Return the path of a fetched file in the cache. Two addresses never share a path, whatever their files' names."""
    folder = hashlib.sha256(address.encode()).hexdigest()[:16]
    name = PurePosixPath(urlsplit(address).path).name or "checkpoint"
    return Path(torch.hub.get_dir()) / "ovdiff" / folder / name


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
