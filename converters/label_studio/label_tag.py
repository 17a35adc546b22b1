"""The tag of one label within the text of a label config, so that one attribute is changed and nothing else.

    <Label value="boat" hotkey="1"/>   ->   <Label value="boat" hotkey="1" prompts="a boat; a ship"/>

A label config that is read as XML and written again loses comments, quotes, spaces and the order that people chose. So
the text is kept, and the tag alone is replaced in it.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from xml.etree.ElementTree import Element, ParseError
from xml.parsers import expat

from defusedxml.ElementTree import fromstring

from converters.errors import LabelConfigError
from converters.label_studio.label_config import parse_label_config

_ATTRIBUTE = rb"""\s+(?P<name>[^\s=/>"'<]+)\s*=\s*(?:"[^"<]*"|'[^'<]*')"""
_TAG = re.compile(rb"<[^\s/>]+(?:" + _ATTRIBUTE.replace(b"?P<name>", b"?:") + rb")*\s*/?>")
_END = re.compile(r"\s*/?>\Z")
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\t": "&#9;", "\n": "&#10;", "\r": "&#13;"}


@dataclass(frozen=True)
class LabelTag:
    """The start tag of a label.

    Attributes:
        before: the label config up to the tag.
        text: the tag as it is written, from "<" to ">".
        after: the label config behind the tag.
    """

    before: str
    text: str
    after: str

    def with_attribute(self, name: str, value: str) -> str:
        """Return the tag's text with an attribute set; its other attributes keep every character and their order."""
        written = attribute_text(name, value)
        for found in re.finditer(_ATTRIBUTE.decode(), self.text):
            if found["name"] == name:
                return f"{self.text[: found.start('name')]}{written}{self.text[found.end() :]}"
        end = _END.search(self.text)
        at = len(self.text) - 1 if end is None else end.start()
        return f"{self.text[:at]} {written}{self.text[at:]}"

    def replaced(self, text: str) -> str:
        """Return the whole label config with another text in the tag's place.

        Raises:
            LabelConfigError: the result differs in more than the attributes of this one tag.
        """
        config = f"{self.before}{text}{self.after}"
        try:
            old, new = (_elements(each) for each in (f"{self.before}{self.text}{self.after}", config))
        except ParseError as error:
            raise LabelConfigError(f"expected a tag that changes this label alone, got {text!r:.200}") from error
        differing = [(one[1:], other[1:]) for one, other in zip(old, new, strict=False) if one != other]
        if len(old) != len(new) or len(differing) > 1 or any(one != other for one, other in differing):
            raise LabelConfigError(f"expected a tag that changes this label alone, got {text!r:.200}")
        return config


def attribute_text(name: str, value: str) -> str:
    """Return an attribute as XML."""
    return f'{name}="{"".join(_ENTITIES.get(character, character) for character in value)}"'


def label_line(value: str) -> str:
    """Return the line of a label config that adds a label."""
    return f"<Label {attribute_text('value', value)}/>"


def find_label_tag(xml: str, control: str, value: str) -> LabelTag:
    """Return the tag of a label of a control.

    Args:
        xml: the label config.
        control: the name of the control.
        value: the label's value, as `Label.value` gives it.

    Raises:
        LabelConfigError: the label config cannot be read, or the control has no such label.
    """
    labels = parse_label_config(xml).control(control).label_values
    if value not in labels:
        raise LabelConfigError(f"expected a label of the control {control!r}, which has {list(labels)}, got {value!r}")
    data = xml.encode()
    (start,) = _places(data, control, value)
    tag = _TAG.match(data, start)
    if tag is None:
        raise LabelConfigError(f"expected the tag of {value!r} at byte {start}, got {data[start : start + 60]!r}")
    return LabelTag(data[:start].decode(), tag[0].decode(), data[tag.end() :].decode())


def _places(data: bytes, control: str, value: str) -> Iterator[int]:
    """Yield the byte at which the tag of a label begins. The text has no DTD: `parse_label_config` was here before."""
    parser, found = expat.ParserCreate("utf-8"), list[int]()
    inside: list[bool] = []  # for each open tag, whether it is the control

    def begin(tag: str, attributes: Mapping[str, str]) -> None:
        if tag.lower() == "label" and any(inside) and attributes.get("value") == value:
            found.append(parser.CurrentByteIndex)
        inside.append(attributes.get("name") == control and bool(attributes.get("toName")))

    parser.StartElementHandler = begin
    parser.EndElementHandler = lambda _tag: inside.pop()
    parser.Parse(data, True)
    yield from found


def _elements(xml: str) -> list[tuple[dict[str, str], str, str, str]]:
    """Return what each tag of a label config says, its attributes first."""
    root: Element = fromstring(xml, forbid_dtd=True)
    return [(dict(each.attrib), each.tag, each.text or "", each.tail or "") for each in root.iter()]
