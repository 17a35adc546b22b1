"""The classes of well-known datasets, as tables that stand beside this module.

    value <tab> name <tab> #rrggbb <tab> kind <tab> phrase; phrase

A value is what a pixel of the class has, or a category's id in the dataset's own files. A kind is thing, stuff,
background or void. The phrases say the same as the name in other words. All but value and name may be blank.
"""

from dataclasses import dataclass
from pathlib import Path

_FOLDER = Path(__file__).parent / "classes"


@dataclass(frozen=True)
class ListedClass:
    """A row of a table.

    Attributes:
        value: what a pixel of the class has, or the category's id.
        name: as the dataset spells it.
        kind: "thing", "stuff", "background", "void", or "" if the dataset does not say it.
        phrases: other words for the name, where the dataset gives some.
    """

    value: int
    name: str
    kind: str = ""
    phrases: tuple[str, ...] = ()


def class_list_path(name: str) -> Path:
    """Return where the table of a name stands, such as "voc"."""
    return _FOLDER / f"{name}.tsv"


def read_class_list(name: str) -> tuple[ListedClass, ...]:
    """Return the rows of the table of a name, such as "voc", in their order."""
    lines = class_list_path(name).read_text(encoding="utf-8").splitlines()
    return tuple(_row(line) for line in lines if line.strip() and not line.startswith("#"))


def _row(line: str) -> ListedClass:
    value, name, _colour, kind, phrases = (*line.split("\t"), "", "", "")[:5]
    return ListedClass(int(value), name, kind, tuple(phrase.strip() for phrase in phrases.split(";") if phrase.strip()))
