"""Parts: the extractors, proposal sources and engines that a preset chooses by name.

Some parts are built in. Another package adds a part without a fork, by an entry point whose object is a
:class:`Part`::

    [project.entry-points."ovdiff.extractors"]
    colours = "my_package:COLOURS"

The groups are ``ovdiff.extractors``, ``ovdiff.proposals`` and ``ovdiff.engines``.

The module of that object should import quickly: it is imported when a preset names the part, before any model loads.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from importlib import metadata
from pkgutil import resolve_name
from typing import Any

from ovdiff.errors import MissingExtraError, OVDiffError, PresetError
from ovdiff.extras import naming_the_extra
from ovdiff.garbage import without_searches_for_garbage
from ovdiff.presets.added import AddedThings
from ovdiff.presets.model_settings import CheckpointSettings, ModelSettings


@dataclass(frozen=True)
class Part:
    """The description of a part: what it needs, and how it is made.

    Attributes:
        make: "module:function" of the part's maker; the module is imported only when the part is made.
        settings: the dataclass of the part's own table, such as ``[extractors.clip]``; ``None`` if it has no table.
        models: the ``[models.NAME]`` tables that the part needs: each name with the dataclass of that table.
        files: the fields of its settings that name files. A hash of the file's content is in the prototypes' key, and
            the file's path is not.
        of_attribution: whether it reads attribution maps, as a threshold does. An image that is segmented has none, so
            such a proposal source cannot find objects in it.
        licence: the licence of its models' weights, whoever hosts them; "" asks :mod:`ovdiff.models.licences`.
        needs: what an engine is given besides images, in a few words, for tables that lay engines side by side.
        version: a number that is in the prototypes' key unless it is 1. Raise it when the part's results change.
        distribution: the name of the package that adds the part; the entry point gives it. "" for a built-in part.

    Raises:
        PresetError: an attribute is not what it should be.
    """

    make: str
    settings: type[Any] | None = None
    models: Mapping[str, type[Any]] = field(default_factory=dict)
    files: tuple[str, ...] = ()
    of_attribution: bool = False
    licence: str = ""
    needs: str = ""
    version: int = 1
    distribution: str = field(default="", compare=False)

    def __post_init__(self) -> None:
        """Refuse a description that would fail later, and elsewhere."""
        if self.settings is not None and not _is_frozen_dataclass(self.settings):
            raise PresetError(
                f"Part {self.make!r}: settings is {self.settings!r}; expected a frozen dataclass, or None."
            )
        known = () if self.settings is None else tuple(entry.name for entry in fields(self.settings))
        if not isinstance(self.files, tuple) or not set(self.files) <= set(known):
            raise PresetError(
                f"Part {self.make!r}: files is {self.files!r}; expected a tuple of fields of its settings."
            )
        for name, kind in self.models.items():
            if not (isinstance(kind, type) and issubclass(kind, ModelSettings | CheckpointSettings)):
                expected = "ModelSettings or CheckpointSettings of ovdiff.presets.model_settings, or a subclass"
                raise PresetError(f"Part {self.make!r}: models[{name!r}] is {kind!r}; expected {expected}.")
        if type(self.version) is not int or self.version < 1:
            raise PresetError(f"Part {self.make!r}: version is {self.version!r}; expected a whole number from 1.")

    def make_one(self, purpose: str, *arguments: Any) -> Any:
        """Import the maker, call it, and return the part that it makes.

        Args:
            purpose: the place where a preset names the part, such as "proposals.source 'cutler'", for messages.
            arguments: of the maker.

        Raises:
            OVDiffError: what the maker raises.
            PresetError: the maker cannot be imported, or fails with an error of another kind.
        """
        try:
            with naming_the_extra(purpose):
                return self.maker(purpose)(*arguments)
        except OVDiffError:
            raise
        except Exception as error:
            raise PresetError(f"{purpose}: {self.make!r} failed: {type(error).__name__}: {error}.") from error

    def maker(self, purpose: str) -> Callable[..., Any]:
        """Import and return the maker.

        Args:
            purpose: the place where a preset names the part, such as "proposals.source 'cutler'", for messages.

        Raises:
            MissingExtraError: the module needs a library that an extra of ovdiff brings.
            PresetError: there is no such module or function, or the module needs another package.
        """
        try:
            with naming_the_extra(purpose), without_searches_for_garbage():
                found: Callable[..., Any] = resolve_name(self.make)
        except MissingExtraError:
            raise
        except (Exception, SystemExit) as error:  # Whatever a module of another package raises when it is imported.
            raise PresetError(f"{purpose}: {self.make!r} cannot be imported: {error}.") from error
        return found


def _is_frozen_dataclass(kind: object) -> bool:
    # Presets are compared and hashed by their settings, so a dataclass that can change would break both.
    return isinstance(kind, type) and is_dataclass(kind) and kind.__dataclass_params__.frozen  # type: ignore[attr-defined]


@dataclass(frozen=True)
class Parts:
    """All parts of one kind: the built-in parts, and the parts that installed packages add.

    Attributes:
        kind: the word for such a part in messages, such as "extractor".
        group: the entry point group in which other packages add parts of this kind.
        built_in: the built-in parts by name. A built-in part wins over a package's part of the same name.
        reserved: names that no part may have, because they name fields beside the parts' tables.
    """

    kind: str
    group: str
    built_in: Mapping[str, Part]
    reserved: frozenset[str] = frozenset()

    def names(self) -> tuple[str, ...]:
        """Return the names of all parts, sorted. No module of another package is imported for it."""
        return tuple(sorted({*self.built_in, *self._added.names()}))

    def __contains__(self, name: object) -> bool:
        """Say whether there is a part of this name. No module of another package is imported for it."""
        return name in self.built_in or name in self._added.names()

    def __getitem__(self, name: str) -> Part:
        """Return a part by its name.

        Raises:
            PresetError: there is no part of this name, several packages add one, or the entry point's object is no
                :class:`Part`.
        """
        if name in self.built_in:
            return self.built_in[name]
        return self._loaded(self._added.entry(name, self.names()))

    @property
    def _added(self) -> AddedThings:
        return AddedThings(self.kind, self.group, PresetError)

    def _loaded(self, entry: metadata.EntryPoint) -> Part:
        if entry.name in self.reserved:
            raise PresetError(f"The {self.kind} {entry.name!r} ({entry.value}) has the name of a field; rename it.")
        part = self._added.load(entry, Part, "an ovdiff.presets.Part")
        return replace(part, distribution=entry.dist.name if entry.dist else "unknown")
