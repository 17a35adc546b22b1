"""Where a model's files are, and what identifies their content. Never imports torch.

The source of a model is ``tinyworld:NAME`` (an embedded model), a local folder, or a hub id with a revision. The source
of a checkpoint is a local file or an https address.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from ovdiff.errors import WeightsError
from ovdiff.presets.model_settings import AdapterSettings, CheckpointSettings, ModelSettings

Weights = ModelSettings | AdapterSettings | CheckpointSettings
"""The settings of anything in a preset that has weights."""

_EMBEDDED = "tinyworld:"
_MODEL_FILES = (".json", ".txt", ".safetensors", ".bin", ".pth", ".pt")
_SAMPLE_BYTES = 1 << 20


def locate(settings: Weights) -> Path | None:
    """Return the folder of a model's files, or a checkpoint's file; ``None`` if these are to be downloaded.

    Raises:
        WeightsError: there is no such embedded model, or the path does not exist.
    """
    if isinstance(settings, CheckpointSettings):
        return _checkpoint(settings)
    if settings.source.startswith(_EMBEDDED):
        return _embedded(settings.source)
    folder = Path(settings.source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or settings.source.startswith((".", "~")):
        raise WeightsError(f"Model folder {settings.source!r} does not exist. Correct the preset's source.")
    return None


PIN_DIGITS = 12
"""How many digits of a commit or checksum a person is shown."""


def weights_pin(settings: Weights) -> str:
    """Return what pins weights that are fetched: a commit, or a checksum; "" where nothing does."""
    return settings.sha256 if isinstance(settings, CheckpointSettings) else settings.revision


def weights_identity(settings: Weights) -> str:
    """Return a text that identifies weights: different weights have different texts.

    A folder or file is identified by a hash of its content: of each file's name, its size, and its first and last MiB,
    in which a retrained model differs. Files are hashed once as long as they keep their sizes and times.

    A hub id is identified by the id and the revision. **A hub id without a revision stands for "main", which moves**:
    new weights there are not noticed, so presets pin a commit where the commit is known.

    A checkpoint with a ``sha256`` is identified by that hash, wherever the file is. A checkpoint at an address, without
    a ``sha256``, is identified by the address.

    Raises:
        WeightsError: the weights cannot be found (see :func:`locate`), or the folder holds no files of a model.
    """
    if isinstance(settings, CheckpointSettings):
        return _checkpoint_identity(settings)
    folder = locate(settings)
    if folder is None:
        return f"{settings.source}@{settings.revision or 'main'}"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix in _MODEL_FILES)
    if not files:
        raise WeightsError(f"Model folder {folder} holds no files of a model: {', '.join(_MODEL_FILES)}.")
    return _hash_files(tuple((path.relative_to(folder).as_posix(), *_stamp(path)) for path in files))


def _checkpoint(settings: CheckpointSettings) -> Path | None:
    if settings.source.startswith("https://"):
        return None
    file = Path(settings.source).expanduser()
    if not file.is_file():
        raise WeightsError(f"Checkpoint file {settings.source!r} does not exist. Correct the preset's source.")
    return file


def _checkpoint_identity(settings: CheckpointSettings) -> str:
    if settings.sha256:  # The file is checked against it when it is read.
        return f"sha256:{settings.sha256.lower()}"
    file = locate(settings)
    return settings.source if file is None else _hash_files((("", *_stamp(file)),))


def _stamp(path: Path) -> tuple[str, int, int]:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns


def _embedded(source: str) -> Path:
    from ovdiff.tinyworld import weights_dir

    folder = weights_dir() / source.removeprefix(_EMBEDDED)
    if not folder.is_dir():
        raise WeightsError(f"The embedded model {source!r} is not in this installation: no folder {folder}.")
    return folder


@lru_cache(maxsize=64)
def _hash_files(files: tuple[tuple[str, str, int, int], ...]) -> str:
    """Hash files, each given as (name to hash, path, size, time); a changed time makes the cache miss."""
    total = hashlib.sha256()
    for name, path, size, _ in files:
        total.update(f"{name}\0{size}\0".encode())
        with Path(path).open("rb") as file:
            total.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, size - _SAMPLE_BYTES))
            total.update(file.read(_SAMPLE_BYTES))
    return f"sha256:{total.hexdigest()}"
