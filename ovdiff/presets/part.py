"""Parts: the extractors, proposal sources and engines that a preset chooses by name.

Some parts are built in. Another package adds a part without a fork, by an entry point whose object is a
:class:`Part`::

    [project.entry-points."ovdiff.extractors"]
    colours = "my_package:COLOURS"

The module of that object should import quickly: it is imported when a preset names the part, before any model loads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pkgutil import resolve_name
from typing import Any

from ovdiff.errors import MissingExtraError, PresetError
from ovdiff.extras import naming_the_extra


@dataclass(frozen=True)
class Part:
    """The description of a part: what it needs, and how it is made.

    Attributes:
        make: "module:function" of the part's maker; the module is imported only when the part is made.
        settings: the dataclass of the part's own table, such as ``[extractors.clip]``; ``None`` if it has no table.
        models: the ``[models.NAME]`` tables that the part needs: each name with the dataclass of that table.
        files: the fields of its settings that name files. A hash of the file's content is in the prototypes' key, and
            the file's path is not.
        licence: the licence of its models' weights, whoever hosts them; "" asks :mod:`ovdiff.models.licences`.
        version: a number that is in the prototypes' key unless it is 1. Raise it when the part's results change.
    """

    make: str
    settings: type[Any] | None = None
    models: Mapping[str, type[Any]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    licence: str = ""
    version: int = 1

    def maker(self, purpose: str) -> Callable[..., Any]:
        """Import and return the maker.

        Args:
            purpose: the place where a preset names the part, such as "proposals.source 'cutler'", for messages.

        Raises:
            MissingExtraError: the module needs a library that an extra of ovdiff brings.
            PresetError: there is no such module or function, or the module needs another package.
        """
        try:
            with naming_the_extra(purpose):
                found: Callable[..., Any] = resolve_name(self.make)
        except MissingExtraError:
            raise
        except (ImportError, AttributeError, ValueError) as error:
            raise PresetError(f"{purpose}: {self.make!r} cannot be imported: {error}.") from error
        return found


@dataclass(frozen=True)
class Parts:
    """All parts of one kind: the built-in parts, and the parts that installed packages add.

    Attributes:
        kind: the word for such a part in messages, such as "extractor".
        group: the entry point group in which other packages add parts of this kind.
        built_in: the built-in parts by name. A built-in part wins over a package's part of the same name.
    """

    kind: str
    group: str
    built_in: Mapping[str, Part]

    def names(self) -> tuple[str, ...]:
        """Return the names of all parts, sorted. No module of another package is imported for it."""
        return tuple(sorted({*self.built_in, *(entry.name for entry in metadata.entry_points(group=self.group))}))

    def __contains__(self, name: object) -> bool:
        """Say whether there is a part of this name. No module of another package is imported for it."""
        return name in self.built_in or any(entry.name == name for entry in metadata.entry_points(group=self.group))

    def __getitem__(self, name: str) -> Part:
        """Return a part by its name.

        Raises:
            PresetError: there is no part of this name, several packages add one, or the entry point's object is no
                :class:`Part`.
        """
        if name in self.built_in:
            return self.built_in[name]
        entries = metadata.entry_points(group=self.group, name=name)
        values = sorted({entry.value for entry in entries})  # A package that is found on two paths counts once.
        if not values:
            raise PresetError(
                f"There is no {self.kind} {name!r}. Known: {', '.join(self.names())}. Other packages may add some, by "
                f"the entry point group {self.group!r}; is the one that you want installed?"
            )
        if len(values) > 1:
            raise PresetError(
                f"Several packages add the {self.kind} {name!r}: {', '.join(values)}. Uninstall all but one of them."
            )
        return self._loaded(next(iter(entries)))

    def _loaded(self, entry: metadata.EntryPoint) -> Part:
        try:
            part = entry.load()
        except (ImportError, AttributeError) as error:
            raise PresetError(f"The {self.kind} {entry.name!r} ({entry.value}) cannot be imported: {error}.") from error
        if not isinstance(part, Part):
            raise PresetError(
                f"The {self.kind} {entry.name!r} ({entry.value}) is {type(part).__name__}; expected an "
                f"ovdiff.presets.Part."
            )
        return part
