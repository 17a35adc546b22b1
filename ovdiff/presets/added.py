"""What installed packages add by entry points: engines, extractors, proposal sources, datasets.

Tested by tests/ovdiff/presets/test_part.py and tests/ovdiff/evaluation/test_catalogue.py.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib import metadata
from typing import TypeVar

from ovdiff.errors import OVDiffError

T = TypeVar("T")


@dataclass(frozen=True)
class AddedThings:
    """The things of one kind that packages add.

    Attributes:
        kind: the word for such a thing in messages, such as "dataset".
        group: the entry point group.
        error: what is raised if there is no such thing, or it cannot be imported.
    """

    kind: str
    group: str
    error: type[OVDiffError]

    def names(self) -> frozenset[str]:
        """Return their names. No module of another package is imported for it."""
        return frozenset(entry.name for entry in metadata.entry_points(group=self.group))

    def entry(self, name: str, known: Iterable[str]) -> metadata.EntryPoint:
        """Return the entry point of a name; nothing is imported yet.

        Args:
            name: the name.
            known: all names that there are, for the message.

        Raises:
            OVDiffError: there is none, or several packages have one.
        """
        entries = metadata.entry_points(group=self.group, name=name)
        values = sorted({entry.value for entry in entries})  # A package that is found on two paths counts once.
        if not values:
            raise self.error(
                f"There is no {self.kind} {name!r}. Known: {', '.join(known)}. Other packages may add some, by the "
                f"entry point group {self.group!r}; is the one that you want installed?"
            )
        if len(values) > 1:
            raise self.error(
                f"Several packages add the {self.kind} {name!r}: {', '.join(values)}. Uninstall all but one of them."
            )
        return next(iter(entries))

    def built_in(self, name: str, address: str) -> metadata.EntryPoint:
        """Return the entry point of a thing of this package, whose address is "module:name"."""
        return metadata.EntryPoint(name, address, self.group)

    def load(self, entry: metadata.EntryPoint, of: type[T], expected: str) -> T:
        """Import and return what an entry point names.

        Args:
            entry: the entry point.
            of: the type that it must have.
            expected: that type in words.

        Raises:
            OVDiffError: it cannot be imported, or is of another type.
        """
        where = f"The {self.kind} {entry.name!r} ({entry.value})"
        try:
            found = entry.load()
        except (Exception, SystemExit) as error:  # Whatever a module of another package raises when it is imported.
            raise self.error(f"{where} cannot be imported: {type(error).__name__}: {error}.") from error
        if not isinstance(found, of):
            raise self.error(f"{where} is {type(found).__name__}; expected {expected}.")
        return found
