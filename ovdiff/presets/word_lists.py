"""Lists of words that a preset names instead of writing them out: ``words = "common_words"`` in ``[anchors]``.

A list is a text file with one word, or one template of a text, a line; blank lines and lines that begin with ``#`` are
not read. When a preset is read, the name is replaced by the words, so that a changed list is a changed preset. Never
imports torch.
"""

from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from ovdiff.errors import PresetError

_PACKAGE = "ovdiff.presets"
_SUFFIX = ".txt"
_NAMED = {"anchors": ("words", "prototypes"), "background": ("words",), "texts": ("templates",)}
"""The fields that may name a list, by their tables."""


def word_list_names() -> tuple[str, ...]:
    """Return the names of the lists that come with the package."""
    files = (file.name for file in resources.files(_PACKAGE).iterdir())
    return tuple(sorted(name.removesuffix(_SUFFIX) for name in files if name.endswith(_SUFFIX)))


def read_words(name_or_path: str, folder: Path) -> tuple[str, ...]:
    """Read a list by its name, or from a ``.txt`` file.

    Args:
        name_or_path: a packaged list's name, or the path of a file.
        folder: the folder from which a relative path starts: that of the preset's file.

    Raises:
        PresetError: there is no such list, or the file cannot be read or holds no word.
    """
    if name_or_path in word_list_names():
        return _words(resources.files(_PACKAGE).joinpath(f"{name_or_path}{_SUFFIX}").read_text("utf-8"))
    if not name_or_path.endswith(_SUFFIX):
        known = ", ".join(word_list_names())
        raise PresetError(f"No list of words {name_or_path!r}. Known: {known}; or give the path of a .txt file.")
    path = folder / name_or_path
    try:
        words = _words(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise PresetError(f"The list of words {path} cannot be read: {error}.") from error
    if not words:
        raise PresetError(f"The list of words {path} is empty. Write one word a line.")
    return words


def with_word_lists(mapping: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return a preset's tables with the words in the place of a list's name.

    Args:
        mapping: the tables of a preset as its file gives them; no other field is looked at.
        folder: the folder of the preset's file.

    Raises:
        PresetError: there is no list of the name, or it cannot be read.
    """
    found = dict(mapping)
    for table, names in _NAMED.items():
        given = found.get(table)
        if isinstance(given, Mapping):
            named = {name: given[name] for name in names if isinstance(given.get(name), str)}
            found[table] = {**given, **{name: list(read_words(value, folder)) for name, value in named.items()}}
    return found


def _words(text: str) -> tuple[str, ...]:
    lines = (line.strip() for line in text.splitlines())
    return tuple(line for line in lines if line and not line.startswith("#"))
