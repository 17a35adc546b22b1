"""The weights of a preset from the network: fetched ahead of time, or found missing quickly and all at once."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests

from ovdiff.errors import WeightsError
from ovdiff.models.checkpoint_file import checkpoint_file
from ovdiff.models.files import ModelFiles, files_of, missing_in
from ovdiff.presets.model_settings import CheckpointSettings
from ovdiff.presets.needs import Stage

REACH_TIMEOUT_S = 5.0
"""How long the first sign of life of a hub may take. The hub's library tries for a minute, for one model of several."""


def require_files(preset: Any, *stages: Stage) -> None:
    """Check that the weights for these stages are on this machine, or that where they come from can be reached.

    Cost: a look at the files while all weights are here; otherwise one request to each hub or host.

    Args:
        preset: the preset of any engine.
        stages: when the models run.

    Raises:
        WeightsError: weights are missing, and their hub or host cannot be reached. The message names all of them.
    """
    # The list of files of a local folder may be too strict for an unusual one, so its loader decides.
    entries = [entry for entry in files_of(preset, *stages) if not (entry.is_local and entry.place)]
    require_reachable(preset.name, entries)


def require_reachable(preset: str, entries: Iterable[ModelFiles]) -> None:
    """Check that the places from which missing files come can be reached.

    Args:
        preset: the preset's name, for the message.
        entries: the files of its models; where no file is missing, nothing is asked.

    Raises:
        WeightsError: a hub or host cannot be reached, or a local source does not exist. The message names all missing
            weights.
    """
    missing = [entry for entry in entries if entry.missing]
    reasons = {address: _why_unreachable(address) for address in dict.fromkeys(map(_address, missing))}
    unreachable = "; ".join(f"{address}: {reason}" for address, reason in reasons.items() if reason)
    if unreachable:
        raise WeightsError(
            f"The preset {preset!r} needs weights that are not on this machine, and where they come from cannot be "
            f"reached ({unreachable}). Missing: {'; '.join(map(str, missing))}. Where there is a network, run `ovdiff "
            f"presets fetch {preset} --to FOLDER`, and bring the folder here."
        )


def fetch(entry: ModelFiles, terms: str, folder: Path | None = None) -> Path:
    """Fetch the missing files of one source of weights, and return the folder or the file that holds them.

    Cost: the download, up to gigabytes. Whole files that were fetched before an error are kept.

    Args:
        entry: the files, as :func:`ovdiff.models.files.files_of` returns them.
        terms: the terms of the weights' licence, in words; a checkpoint's are logged before it is fetched.
        folder: where to write them; ``None`` means the caches of the libraries, in which the loaders look.

    Raises:
        WeightsError: the files cannot be fetched or written, the hub has no such files, or a checkpoint has another
            checksum.
    """
    if isinstance(entry.settings, CheckpointSettings):
        return checkpoint_file(entry.settings, terms, folder)
    if entry.place is not None and not entry.missing and folder is None:
        return entry.place
    try:
        found = _snapshot(entry, entry.settings.revision or None, folder)
    except Exception as error:  # of the hub's library, of the network, or of the disk
        raise WeightsError(f"Cannot fetch {entry}: {error}") from error
    if lacking := missing_in(found, entry.needed):
        raise WeightsError(f"{entry.settings.source!r} has no {', '.join(lacking)}: correct the preset's source.")
    return found


def _snapshot(entry: ModelFiles, revision: str | None, folder: Path | None) -> Path:
    from huggingface_hub import HfApi, snapshot_download

    source = entry.settings.source
    wanted = list(_chosen(entry, HfApi().list_repo_files(source, revision=revision)))
    return Path(snapshot_download(source, revision=revision, allow_patterns=wanted, local_dir=folder))


def _chosen(entry: ModelFiles, listed: Sequence[str]) -> Iterator[str]:
    """Yield the files to fetch: of several alternatives the first that is listed, and the small files beside them."""
    for names in entry.needed:
        name = next((name for name in names if name in listed), names[0])
        yield name
        folder = name.rpartition("/")[0]
        beside = [other for other in listed if other.rpartition("/")[0] == folder]
        yield from (other for other in beside if other.endswith((".json", ".txt")))
        if name.endswith(".index.json"):  # weights in several files: "model-00001-of-00002.safetensors"
            stem = name.removesuffix(".index.json").rpartition(".")[0]
            yield from (other for other in beside if other.startswith(f"{stem}-"))


def _address(entry: ModelFiles) -> str:
    """Return where missing files come from."""
    if entry.is_local:
        return entry.settings.source
    if isinstance(entry.settings, CheckpointSettings):
        parts = urlsplit(entry.settings.source)
        return f"{parts.scheme}://{parts.netloc}"
    from huggingface_hub import constants

    return str(constants.ENDPOINT)


def _why_unreachable(address: str) -> str:
    """Return why nothing answers at an address; "" if anything does, be it an error."""
    from huggingface_hub import constants

    if "://" not in address:
        return "no such folder or file"
    if address == constants.ENDPOINT and constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set"
    try:
        requests.head(address, timeout=REACH_TIMEOUT_S).close()
    except requests.RequestException as error:
        return type(error).__name__
    return ""
