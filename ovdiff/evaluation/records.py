"""The figures of an evaluation's images on disk, a line each, so that a killed run goes on where it was.

A folder holds ``run.json``, which says what is evaluated by what, and ``images.jsonl``. Lines may stand in any order; a
line that a kill cut off is dropped, and its image is evaluated again. One process writes at a time.
"""

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from converters.files.atomic import write_whole
from converters.files.folder_lock import locked
from ovdiff.errors import EvaluationError
from ovdiff.evaluation.figures import ImageFigures

RUN, IMAGES = "run.json", "images.jsonl"


class Records:
    """The lines of one folder, open for more. A context manager: leaving it gives the folder back."""

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        """Open a folder; it is made if it is not there.

        Args:
            folder: where the lines are.
            run: what decides the figures, as JSON's types. Lines of another run are not mixed with these.

        Raises:
            EvaluationError: the folder holds another run, is used by another process, or cannot be read or written.
        """
        self._folder = folder
        self._places: dict[str, int] = {}
        with ExitStack() as stack:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                stack.enter_context(locked(folder, wait=False))
                _require_same(folder / RUN, json.loads(json.dumps(run)))
                self._look()
                self._file = stack.enter_context((folder / IMAGES).open("ab", buffering=0))
            except BlockingIOError as error:
                raise EvaluationError(
                    f"Another process is evaluating into {str(folder)!r}. Wait for it, or name another folder."
                ) from error
            except OSError as error:
                raise EvaluationError(f"The folder {str(folder)!r} cannot be used: {error}.") from error
            self._open = stack.pop_all()

    def __enter__(self) -> Self:
        """Return the records."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file, and give the folder back."""
        self._open.close()

    def __contains__(self, image: str) -> bool:
        """Say whether there are figures of an image."""
        return image in self._places

    def add(self, figures: ImageFigures) -> None:
        """Write the figures of an image; they are there if the process is killed afterwards.

        Raises:
            EvaluationError: they cannot be written; the message says why.
        """
        line = json.dumps(figures.to_json(), separators=(",", ":")).encode() + b"\n"
        place = self._file.seek(0, os.SEEK_END)
        try:
            written = 0
            while written < len(line):  # Without a buffer a write may take a part, as at the end of a full disk.
                written += self._file.write(line[written:])
        except OSError as error:
            with suppress(OSError):
                self._file.truncate(place)
            raise EvaluationError(
                f"The figures of {figures.image!r:.200} cannot be written into {str(self._folder)!r}: {error}. "
                "Give it room, and run the command again: what was evaluated is kept."
            ) from error
        self._places[figures.image] = place

    def figures(self, images: Iterable[str]) -> Iterator[ImageFigures]:
        """Yield the figures of those of some images that have any, in the order in which the images are named."""
        return _figures_at(self._folder / IMAGES, self._places, images)

    def _look(self) -> None:
        """Note where each image's line begins, and drop a line that was cut off."""
        path = self._folder / IMAGES
        if path.exists():
            self._places, whole_bytes = _places_in(path)
            if whole_bytes < path.stat().st_size:
                os.truncate(path, whole_bytes)


def require_no_other_run(folder: Path, run: Mapping[str, Any]) -> None:
    """Refuse a folder that holds another run, by what is known of this one before it begins; nothing is written.

    Args:
        folder: where the lines are, or are to come.
        run: a part of what `Records` is opened with.

    Raises:
        EvaluationError: the folder holds another run.
    """
    path = folder / RUN
    if path.is_file():
        _refuse_other(path, json.loads(json.dumps(run)), _earlier(path), run)


def read_records(folder: Path, images: Sequence[str] | None = None) -> Iterator[ImageFigures]:
    """Yield the figures of a folder that nobody writes to any more, in the order of ``images``, or of the lines.

    Raises:
        EvaluationError: the folder holds no evaluation, or a line is damaged.
    """
    path = folder / IMAGES
    try:
        places, _ = _places_in(path)
    except OSError as error:
        raise EvaluationError(f"{str(folder)!r} holds no evaluation: {error}.") from error
    yield from _figures_at(path, places, places if images is None else images)


def recorded_images(folder: Path) -> set[str]:
    """Return the names of the images whose figures a folder holds; none if there is no such folder.

    Raises:
        EvaluationError: a line is damaged.
    """
    path = folder / IMAGES
    if not path.is_file():
        return set()
    with path.open("rb") as file:
        return {_image_of(line, number, path) for number, line in enumerate(file, start=1) if line.endswith(b"\n")}


def _places_in(path: Path) -> tuple[dict[str, int], int]:
    """Return where each image's line begins, and how many bytes of the file are whole lines."""
    places, whole = {}, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                break
            places[_image_of(line, number, path)] = whole
            whole += len(line)
    return places, whole


def _figures_at(path: Path, places: Mapping[str, int], images: Iterable[str]) -> Iterator[ImageFigures]:
    with path.open("rb") as file:
        for image in images:
            if image in places:
                file.seek(places[image])
                yield ImageFigures.from_json(json.loads(file.readline()))


def _require_same(path: Path, run: Mapping[str, Any]) -> None:
    """Write what the run is, or compare it with what is written."""
    if not path.exists():
        write_whole(path, json.dumps(run, indent=1).encode())
        return
    earlier = _earlier(path)
    _refuse_other(path, run, earlier, {**run, **earlier})


def _earlier(path: Path) -> Mapping[str, Any]:
    try:
        found: Mapping[str, Any] = json.loads(path.read_bytes())
    except ValueError as error:
        raise EvaluationError(f"{str(path)!r} is damaged: {error}. Name another folder.") from error
    return found


def _refuse_other(path: Path, run: Mapping[str, Any], earlier: Mapping[str, Any], names: Iterable[str]) -> None:
    if other := [name for name in names if run.get(name) != earlier.get(name)]:
        raise EvaluationError(
            f"The folder {str(path.parent)!r} holds another evaluation: its {', '.join(sorted(other))} differ. Name "
            "another folder, or delete this one."
        )


def _image_of(line: bytes, number: int, path: Path) -> str:
    try:
        return str(json.loads(line)["image"])
    except (ValueError, KeyError, TypeError) as error:
        raise EvaluationError(
            f"Line {number} of {str(path)!r} is damaged: {error}. Delete the line, and run the command again."
        ) from error
