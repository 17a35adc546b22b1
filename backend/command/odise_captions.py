"""Captions of images from a file: COCO's captions, or lines of JSON with `image` and `caption` or `captions`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from backend.errors import UsageError
from converters.errors import ImageFileError
from converters.files.image_files import image_file_name

_UPLOAD_PREFIX = re.compile("^[0-9a-f]{8}-")  # Label Studio puts it in front of the names of uploaded files.


class Captions:
    """The captions of images, by their file names. A name without its folders is enough."""

    def __init__(self, by_name: Mapping[str, tuple[str, ...]]) -> None:
        """Use captions by file name."""
        self._by_name = dict(by_name)

    def __len__(self) -> int:
        """Return how many images have captions."""
        return len(self._by_name)

    def of(self, image: str) -> tuple[str, ...]:
        """Return the captions of the image at an address."""
        try:
            name = image_file_name(image)
        except ImageFileError:
            name = image
        last = PurePosixPath(name).name
        names = (name, last, _UPLOAD_PREFIX.sub("", last))
        return next((self._by_name[each] for each in names if each in self._by_name), ())


def read_captions(path: Path | None) -> Captions:
    """Read a file of captions; without one nothing has a caption.

    Raises:
        UsageError: the file cannot be read, or holds no captions; the message names the line.
    """
    if path is None:
        return Captions({})
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"--captions {path} cannot be read: {error}.") from error
    found: dict[str, list[str]] = {}
    for name, caption in _of_coco(path, text) or _of_lines(path, text):
        found.setdefault(name, []).append(caption)
    if not found:
        raise UsageError(f"--captions {path} holds no caption of an image that it names.")
    return Captions({name: tuple(captions) for name, captions in found.items()})


def _of_coco(path: Path, text: str) -> list[tuple[str, str]]:
    """Return pairs of file name and caption; none if the text is not one JSON object with `images`."""
    try:
        dataset = json.loads(text)
    except (ValueError, RecursionError):
        return []
    if not isinstance(dataset, dict) or "images" not in dataset:
        return []
    try:
        names = {image["id"]: str(image["file_name"]) for image in dataset["images"]}
        made = [(names.get(each["image_id"]), str(each["caption"])) for each in dataset["annotations"]]
    except (KeyError, TypeError) as error:
        raise UsageError(
            f"--captions {path}: expected COCO captions, with images of id and file_name and annotations of image_id "
            f"and caption; {type(error).__name__}: {error}."
        ) from error
    return [(name, caption) for name, caption in made if name is not None]


def _of_lines(path: Path, text: str) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            pairs += _of_line(f"--captions {path}, line {number}", line)
    return pairs


def _of_line(where: str, line: str) -> list[tuple[str, str]]:
    try:
        row: Any = json.loads(line)
        captions = row["captions"] if "captions" in row else [row["caption"]]
        name = row["image"]
    except (ValueError, KeyError, TypeError) as error:
        raise UsageError(
            f'{where}: expected {{"image": "a.jpg", "caption": "..."}} or COCO captions, got {line!r:.80}.'
        ) from error
    if not isinstance(name, str) or not isinstance(captions, list) or not all(isinstance(c, str) for c in captions):
        raise UsageError(f"{where}: expected an image's name and sentences, got {line!r:.80}.")
    return [(name, caption) for caption in captions]
