"""Where a model's files are, and what identifies them. Never imports torch.

A source is ``tinyworld:NAME`` (embedded), a local folder, or a hub id with a revision.
"""

import hashlib
from functools import lru_cache
from pathlib import Path

from ovdiff.errors import WeightsError
from ovdiff.presets.model_settings import AdapterSettings, CheckpointSettings, ModelSettings

Weights = ModelSettings | AdapterSettings | CheckpointSettings
"""Whatever names weights in a preset."""

_EMBEDDED = "tinyworld:"
_SAMPLE_BYTES = 1 << 20


def locate(settings: Weights) -> Path | None:
    """Return the folder of a model's files, or ``None`` when the source is a hub id.

    Raises:
        WeightsError: an embedded model or a path that does not exist.
    """
    if settings.source.startswith(_EMBEDDED):
        return _embedded(settings.source)
    folder = Path(settings.source).expanduser()
    if folder.is_dir():
        return folder
    if folder.is_absolute() or settings.source.startswith((".", "~")):
        raise WeightsError(f"Model folder {settings.source!r} does not exist. Correct the preset's source.")
    return None


def weights_identity(settings: Weights) -> str:
    """Return what tells one set of weights from another: a content hash, or the hub id and revision.

    Cheap: of each file the name, the size, and the first and last MiB are hashed; a retrained model differs
    in these. A folder is hashed once as long as its files keep their sizes and times.

    Raises:
        WeightsError: as :func:`locate`, or the folder holds no files.
    """
    folder = locate(settings)
    if folder is None:
        version = settings.sha256 if isinstance(settings, CheckpointSettings) else settings.revision
        return f"{settings.source}@{version or 'main'}"
    files = sorted(path for path in folder.rglob("*") if path.is_file() and _is_model_file(path))
    if not files:
        raise WeightsError(f"Model folder {folder} holds no .json, .txt or .safetensors files.")
    stamps = tuple((str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files)
    return _hash_files(str(folder), stamps)


def _embedded(source: str) -> Path:
    from ovdiff.tinyworld import weights_dir

    folder = weights_dir() / source.removeprefix(_EMBEDDED)
    if not folder.is_dir():
        raise WeightsError(f"The embedded model {source!r} is not in this installation: no folder {folder}.")
    return folder


def _is_model_file(path: Path) -> bool:
    return path.suffix in (".json", ".txt", ".safetensors")


@lru_cache(maxsize=64)
def _hash_files(folder: str, stamps: tuple[tuple[str, int, int], ...]) -> str:
    total = hashlib.sha256()
    for name, size, _ in stamps:
        total.update(f"{Path(name).relative_to(folder).as_posix()}\0{size}\0".encode())
        with Path(name).open("rb") as file:
            total.update(file.read(_SAMPLE_BYTES))
            file.seek(max(0, size - _SAMPLE_BYTES))
            total.update(file.read(_SAMPLE_BYTES))
    return f"sha256:{total.hexdigest()}"
