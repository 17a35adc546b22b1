"""Label Studio's labelling configuration (XML) as data: controls, their labels, and the images they mark.

    <View>
      <Image name="image" value="$image"/>
      <BrushLabels name="brush" toName="image">
        <Label value="red disc" background="#ff0000"/>
      </BrushLabels>
    </View>

A *control* is any tag with `name` and `toName`. The text may come from a stranger, so it is read with defusedxml, which
refuses entities, DTDs and external references.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from converters.errors import LabelConfigError

MAX_CHARACTERS = 2_000_000
"""The longest configuration that is read; a thousand labels are about 0.1 million characters."""
NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Finds a character that XML cannot hold, such as a control character or half of a surrogate pair."""
_MAX_BYTES_PER_CHARACTER = 4  # UTF-8


@dataclass(frozen=True)
class Label:
    """One `<Label>`: its value and all its XML attributes (value, background, hotkey, prompts, ...)."""

    value: str
    attributes: Mapping[str, str]

    @property
    def result_name(self) -> str:
        """The word that regions carry: the `alias` where there is one, else the value."""
        return self.attributes.get("alias") or self.value

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a worker process have the label; a read-only mapping cannot be pickled."""
        return _rebuilt_label, (self.value, dict(self.attributes))


@dataclass(frozen=True)
class Control:
    """One control tag.

    Attributes:
        name: the name of the tag.
        kind: the tag in lower case, for example "brushlabels"; regions carry it as their `type`.
        to_name: the names of the tags that the control marks, joined by commas.
        labels: its `<Label>` tags. A `<Choice>` is no label: a taxonomy may have one word in several branches.
        attributes: all XML attributes of the tag.
        choices: the path of each `<Choice>`, from the outermost choice to the choice itself, in the words that results
            carry: the `alias` where there is one, else the value.
    """

    name: str
    kind: str
    to_name: str
    labels: tuple[Label, ...]
    attributes: Mapping[str, str]
    choices: tuple[tuple[str, ...], ...] = ()

    @property
    def label_values(self) -> tuple[str, ...]:
        """The labels' values in the order of the configuration."""
        return tuple(label.value for label in self.labels)

    def __reduce__(self) -> tuple[Any, ...]:
        """Let a worker process have the control; a read-only mapping cannot be pickled."""
        return _rebuilt_control, (self.name, self.kind, self.to_name, self.labels, dict(self.attributes), self.choices)


def _rebuilt_label(value: str, attributes: dict[str, str]) -> Label:
    return Label(value, MappingProxyType(attributes))


def _rebuilt_control(name: str, kind: str, to_name: str, labels: Any, attributes: Any, choices: Any) -> Control:
    return Control(name, kind, to_name, labels, MappingProxyType(attributes), choices)


@dataclass(frozen=True)
class ImageTag:
    """One `<Image>` tag.

    Attributes:
        name: the name of the tag.
        value: the key of a task's data that holds the image's address, with a dollar sign: "$image".
        is_list: whether that key holds a list of addresses (`valueList`).
    """

    name: str
    value: str
    is_list: bool = False

    @property
    def data_key(self) -> str:
        """The key of a task's `data` that holds the image's address: "image" for `$image`."""
        return self.value.removeprefix("$")


@dataclass(frozen=True)
class LabelConfig:
    """All controls and images of a configuration, in the order of the configuration, and the labels of relations.

    `attributes` are those of the outermost tag, which is a `<View>`.
    """

    controls: tuple[Control, ...]
    images: tuple[ImageTag, ...]
    relations: tuple[str, ...] = ()
    attributes: Mapping[str, str] = field(default_factory=dict)

    def control(self, name: str) -> Control:
        """Return the control of a name; if there is none, raise a LabelConfigError that names all controls."""
        for control in self.controls:
            if control.name == name:
                return control
        raise LabelConfigError(
            f"expected a control of the label config, one of {[c.name for c in self.controls]}, got {name!r}"
        )

    def of_kind(self, *kinds: str) -> tuple[Control, ...]:
        """Return the controls of some kinds, for example "brushlabels"."""
        return tuple(control for control in self.controls if control.kind in kinds)


def labels_of(controls: Iterable[Control]) -> Iterator[Label]:
    """Yield the labels of each control, in the given order; a label that several controls share comes several times."""
    for control in controls:
        yield from control.labels


def read_label_config(path: Path) -> LabelConfig:
    """Read a labelling configuration from a file in UTF-8.

    Raises:
        LabelConfigError: the configuration cannot be used; see `parse_label_config`.
        OSError: the file cannot be opened.
    """
    text = read_label_config_text(path)
    try:
        return parse_label_config(text)
    except LabelConfigError as error:
        raise LabelConfigError(f"{path}: {error}") from error


def read_label_config_text(path: Path) -> str:
    """Return the text of a labelling configuration from a file in UTF-8; what it says is not looked at.

    Raises:
        LabelConfigError: the file is too long, or not in UTF-8.
        OSError: the file cannot be opened.
    """
    if path.stat().st_size > MAX_CHARACTERS * _MAX_BYTES_PER_CHARACTER:
        raise LabelConfigError(f"{path}: expected at most {MAX_CHARACTERS} characters, got {path.stat().st_size} bytes")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelConfigError(f"{path}: expected XML in UTF-8, got other bytes: {error}") from error


def parse_label_config(xml: str) -> LabelConfig:
    """Read a labelling configuration.

    Raises:
        LabelConfigError: the text is no XML, declares entities or is too long; two tags or two labels of one control
            have the same name; a label has no value; a control marks a tag that does not exist.
    """
    root = _parse(xml)
    images = tuple(_image(element) for element in root.iter() if element.tag.lower() == "image")
    controls = tuple(_control(element) for element in root.iter() if _is_control(element))
    _require_unique([image.name for image in images] + [control.name for control in controls], "tag names")
    names = {element.get("name") for element in root.iter()}
    for control in controls:
        _require_targets(control, names)
        _require_unique(list(control.label_values), f"labels of the control {control.name!r}")
    relations = tuple(element.get("value", "") for element in root.iter() if element.tag.lower() == "relation")
    return LabelConfig(controls, images, relations, dict(root.attrib))


def _parse(xml: str) -> Element:
    if not isinstance(xml, str) or not xml.strip():
        raise LabelConfigError(f"expected a label config (XML text), got {xml!r:.60}")
    if len(xml) > MAX_CHARACTERS:
        raise LabelConfigError(f"expected at most {MAX_CHARACTERS} characters of label config, got {len(xml)}")
    try:
        root: Element = fromstring(xml, forbid_dtd=True)
    except DefusedXmlException as error:
        raise LabelConfigError(
            f"the label config declares a DTD or entities ({error}); Label Studio needs neither: remove them"
        ) from error
    except (ParseError, ValueError) as error:
        raise LabelConfigError(
            f"expected a label config in XML, which cannot be read: {error}; Label Studio shows it under Settings > "
            "Labeling Interface > Code"
        ) from error
    return root


def _is_control(element: Element) -> bool:
    return bool(element.get("toName")) and bool(element.get("name"))


def _image(element: Element) -> ImageTag:
    name, value = element.get("name"), element.get("valueList") or element.get("value")
    if not name or not value:
        raise LabelConfigError(f"expected <Image> with a name and a value such as $image, got {element.attrib}")
    return ImageTag(name, value, is_list=bool(element.get("valueList")))


def _control(element: Element) -> Control:
    labels = tuple(_label(child, element) for child in element.iter() if child.tag.lower() == "label")
    return Control(
        name=element.attrib["name"],
        kind=element.tag.lower(),
        to_name=element.attrib["toName"],
        labels=labels,
        attributes=MappingProxyType(dict(element.attrib)),
        choices=tuple(_choices(element, ())),
    )


def _choices(element: Element, outer: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    """Yield the paths of the choices inside a tag, whatever other tags stand between them."""
    for child in element:
        path = outer
        if child.tag.lower() == "choice":
            path = (*outer, child.get("alias") or child.get("value") or "")
            yield path
        yield from _choices(child, path)


def _label(element: Element, parent: Element) -> Label:
    value = element.get("value")
    if not value or not value.strip():
        raise LabelConfigError(
            f"expected a value for each label, got <{element.tag}> with {element.attrib} in "
            f"<{parent.tag} name={parent.get('name')!r}>"
        )
    return Label(value, MappingProxyType(dict(element.attrib)))


def _require_unique(names: list[str], what: str) -> None:
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise LabelConfigError(f"expected {what} to differ, got {twice} more than once")


def _require_targets(control: Control, names: set[str | None]) -> None:
    missing = [target for target in control.to_name.split(",") if target.strip() not in names]
    if missing:
        raise LabelConfigError(
            f"expected toName of the control {control.name!r} to name a tag of the config, got {missing}"
        )
