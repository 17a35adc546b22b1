"""Where a dataset's files lie in the folder that a person names, and which of them are missing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path, PurePosixPath

from ovdiff.errors import DatasetError

_SHOWN = 3
_ABOVE = 4
"""So many folders above the named one are looked at, for whoever names a folder within the dataset."""
_ARCHIVES = (".tar", ".tar.gz", ".tgz", ".zip")


@dataclass(frozen=True)
class FilesOf:
    """The files of one kind: all below a folder whose names end in some way.

    Attributes:
        folder: the folder, relative to the dataset's.
        ending: what their names end with; the rest of the path in ``folder`` is the name of the image.
        beginning: a pattern of what comes before the ending in the files' own names.
    """

    folder: str
    ending: str
    beginning: str = "*"

    @property
    def pattern(self) -> str:
        """The pattern of the files' own names."""
        return self.beginning + self.ending

    def path(self, image: str) -> str:
        """Return the path of an image's file, relative to the dataset's folder."""
        return f"{self.folder}/{image}{self.ending}"


def find_root(folder: Path, places: Sequence[str], *wanted: str) -> Path | None:
    """Return the first of some places in a folder that has one of the wanted files or folders, ``None`` if none has."""
    found = (folder / place for place in places if any((folder / place / path).exists() for path in wanted))
    return next(found, None)


def root_of(name: str, folder: Path, places: Sequence[str], *wanted: str) -> Path:
    """Return what :func:`find_root` returns, and refuse a folder where no place has any.

    Args:
        name: the dataset's name, for the message.
        folder: what the person named: the dataset's own folder, or one above it.
        places: where the dataset's folder may be, relative to ``folder``; "." is ``folder`` itself.
        wanted: the paths of which one is looked for in each place.

    Raises:
        DatasetError: no place has any. The message names every path that was tried.
    """
    found = find_root(folder, places, *wanted)
    if found is not None:
        return found
    tried = " nor ".join(str(PurePosixPath(place) / path) for path in wanted for place in places)
    above = next((each for each in folder.absolute().parents[:_ABOVE] if find_root(each, places, *wanted)), None)
    advice = "" if above is None else f" But {str(above)!r} has it: name that folder."
    raise DatasetError(f"{name}: the folder {str(folder)!r} has neither {tried}. {_held_by(folder, places)}{advice}")


def choose_files(name: str, root: Path, choices: Sequence[FilesOf]) -> FilesOf:
    """Return the first of some kinds of files of which there is one.

    Raises:
        DatasetError: there is no file of any kind. The message names every pattern that was tried.
    """
    for files in choices:
        if next((root / files.folder).rglob(files.pattern), None) is not None:
            return files
    tried = " nor ".join(f"{files.folder}/*{files.ending}" for files in choices)
    raise DatasetError(f"{name}: the folder {str(root)!r} has neither {tried}.")


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


def pair_files(name: str, root: Path, images: FilesOf, labels: FilesOf) -> dict[str, tuple[str, str]]:
    """Return the paths of the image and of the labels by the image's name, in the order of names.

    Raises:
        DatasetError: there are neither images nor labels, or some of either lack their counterpart.
    """
    names = sorted({*_names(root, images), *_names(root, labels)})
    if not names:
        raise DatasetError(
            f"{name}: {str(root)!r} has neither {images.folder}/*{images.ending} nor {labels.folder}/*{labels.ending}."
        )
    files = {image: (images.path(image), labels.path(image)) for image in names}
    require_files(name, root, (path for pair in files.values() for path in pair))
    return files


def require_files(name: str, root: Path, paths: Iterable[str]) -> None:
    """Make sure that files are there. Each folder is listed once, because a network's disk takes long for each file.

    Args:
        name: the dataset's name, for the message.
        root: the folder of the dataset.
        paths: the files, relative to ``root``, with "/" between folders.

    Raises:
        DatasetError: some are missing. The message says how many of how many in which folder, and names the first.
    """
    wanted = sorted(PurePosixPath(path) for path in paths)
    missing: list[PurePosixPath] = []
    counts: dict[PurePosixPath, int] = {}
    for parent, grouped in groupby(wanted, key=lambda path: path.parent):
        files = tuple(grouped)
        held = _held(root / parent)
        lacking = [path for path in files if path.name not in held]
        missing += lacking
        counts[parent] = len(files)
    if missing:
        where = missing[0].parent
        lacking_there = sum(path.parent == where for path in missing)
        elsewhere = len(missing) - lacking_there
        raise DatasetError(
            f"{name}: {lacking_there} of {counts[where]} files are missing in {str(root / where)!r}; the first is "
            f"{missing[0].name}{f'. In other folders {elsewhere} more are missing' if elsewhere else ''}. Was an "
            "archive left out, or unpacked only in part?"
        )


def _names(root: Path, files: FilesOf) -> Iterable[str]:
    """Yield the names of images of which there is a file. What macOS adds to archives ("._x") is no file."""
    folder = root / files.folder
    for path in folder.rglob(files.pattern):
        if not path.name.startswith("._"):
            yield path.relative_to(folder).as_posix().removesuffix(files.ending)


def _held_by(folder: Path, places: Sequence[str]) -> str:
    """Say what a folder holds, or the dataset's own folder in it, and which archives wait there to be unpacked."""
    inside = next((place for place in places if place != "." and (folder / place).is_dir()), None)
    held = sorted(_held(folder / (inside or ".")))
    shown = ", ".join(held[:_SHOWN]) + (f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else "")
    archives = [path for path in held if path.endswith(_ARCHIVES)]
    packed = f" Unpack {', '.join(archives[:_SHOWN])} there." if archives else ""
    return f"{'It' if inside is None else f'Its {inside}'} holds {shown or 'nothing'}.{packed}"


def _held(folder: Path) -> frozenset[str]:
    try:
        return frozenset(path.name for path in folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return frozenset()
