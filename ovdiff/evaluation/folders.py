"""Where a dataset's files lie in the folder that a person names, and which of them are missing."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path, PurePosixPath

from ovdiff.errors import DatasetError

_SHOWN = 3


def root_of(name: str, folder: Path, places: Sequence[str], wanted: str) -> Path:
    """Return the first of some places in a folder that has a file or folder.

    Args:
        name: the dataset's name, for the message.
        folder: what the person named: the dataset's own folder, or one above it.
        places: where the dataset's folder may be, relative to ``folder``; "." is ``folder`` itself.
        wanted: the path that is looked for in each place.

    Raises:
        DatasetError: no place has it. The message names every path that was tried.
    """
    for place in places:
        if (folder / place / wanted).exists():
            return folder / place
    tried = " nor ".join(str(PurePosixPath(place) / wanted) for place in places)
    held = sorted(path.name for path in folder.iterdir())
    shown = ", ".join(held[:_SHOWN]) + (f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else "")
    raise DatasetError(f"{name}: the folder {str(folder)!r} has neither {tried}. It holds {shown or 'nothing'}.")


def read_split(name: str, path: Path) -> tuple[str, ...]:
    """Return the image names of a split's text file, one a line.

    Raises:
        DatasetError: the file cannot be read, lists nothing, or lists an image twice.
    """
    try:
        names = tuple(path.read_text(encoding="utf-8").split())
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{name}: the list of images {str(path)!r} cannot be read: {error}.") from error
    if not names or len(set(names)) < len(names):
        twice = next((each for each in names if names.count(each) > 1), None)
        what = "lists no image" if twice is None else f"lists {twice!r} twice"
        raise DatasetError(f"{name}: {str(path)!r} {what}. Unpack the archive again.")
    return names


def require_files(name: str, what: str, root: Path, paths: Iterable[str]) -> None:
    """Make sure that files are there. Each folder is listed once, because a network's disk takes long for each file.

    Args:
        name: the dataset's name, for the message.
        what: what the files are, such as "masks".
        root: the folder of the dataset.
        paths: the files, relative to ``root``, with "/" between folders.

    Raises:
        DatasetError: some are missing. The message says how many of how many, and names the first.
    """
    wanted = sorted(PurePosixPath(path) for path in paths)
    missing: list[PurePosixPath] = []
    for parent, files in groupby(wanted, key=lambda path: path.parent):
        held = _held(root / parent)
        missing += [path for path in files if path.name not in held]
    if missing:
        raise DatasetError(
            f"{name}: {len(missing)} of {len(wanted)} {what} are missing in {str(root)!r}; the first is "
            f"{missing[0]}. Was an archive left out, or unpacked only in part?"
        )


def files_below(folder: Path, suffix: str) -> tuple[str, ...]:
    """Return the paths of all files below a folder with an ending, relative to it, with "/" between folders, in order.

    A folder that does not exist has none. Files that an archive of macOS brings along ("._x") are none.
    """
    found = (path for path in folder.rglob(f"*{suffix}") if not path.name.startswith("._"))
    return tuple(sorted(path.relative_to(folder).as_posix() for path in found))


def _held(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
