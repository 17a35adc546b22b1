"""Label configs for datasets that come in: the controls that can show what the dataset holds."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from xml.sax.saxutils import quoteattr

from converters.encodings.colours import colour_of
from converters.errors import LabelConfigError
from converters.label_studio.label_config import NOT_IN_XML
from converters.label_studio.region_details import (
    CROWD,
    CROWD_CONTROL,
    HIDDEN,
    HIDDEN_CONTROL,
    KEYPOINTS_OF,
    NOTE,
    POINTS_CONTROL,
)
from converters.records import DatasetCategory, ImageRecord

BOX_TAG = "RectangleLabels"
_LABEL, _BOX, _IMAGE = "label", "box", "image"
_TAKEN = (_LABEL, _BOX, _IMAGE, CROWD_CONTROL, HIDDEN_CONTROL, NOTE)
_MAX_ANSWERS = 50  # more text fields would fill the page


@dataclass(frozen=True)
class Extras:
    """What a label config holds beside the control of the categories.

    Attributes:
        boxes: a control for boxes.
        crowds: a choice by region that says that it is a crowd.
        hidden: a choice by keypoint that says that something covers it.
        answers: the names of text fields by region.
    """

    boxes: bool = False
    crowds: bool = False
    hidden: bool = False
    answers: tuple[str, ...] = ()


def answer_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names that a text field can have, each once; at most 50."""
    usable = (name for name in names if name.strip() and name not in _TAKEN and not name.startswith(POINTS_CONTROL))
    return tuple(dict.fromkeys(name for name in usable if name.isprintable()))[:_MAX_ANSWERS]


class Needs:
    """What the regions of a dataset need of a label config, found out while the records pass by."""

    def __init__(self) -> None:
        """Start with no need."""
        self._boxes = self._crowds = self._hidden = False
        self._answers: dict[str, None] = {}

    def seen(self, records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        """Yield the records, and note what their regions need."""
        for record in records:
            regions = [markup.regions for markup in record.annotations] + [p.regions for p in record.predictions]
            for region in chain.from_iterable(regions):
                self._boxes |= region.box_xywh is not None
                self._crowds |= region.is_crowd
                self._hidden |= any(point.is_hidden for point in region.keypoints)
                self._answers |= dict.fromkeys(region.answers)
            yield record

    def of(self, offered: Extras) -> Extras:
        """Return what was needed so far of what was offered."""
        return Extras(
            boxes=self._boxes and offered.boxes,
            crowds=self._crowds and offered.crowds,
            hidden=self._hidden and offered.hidden,
            answers=tuple(name for name in offered.answers if name in self._answers),
        )


def label_config_for(
    categories: Sequence[DatasetCategory],
    kind: str = "BrushLabels",
    image: str = "$image",
    extras: Extras = Extras(),
) -> str:
    """Return a label config for some categories.

    A label carries the category's id as `category=`, a colour that follows from its name, and `kind=` if it is known
    whether the category is a thing or stuff. A category with keypoints has a control of its own for them.

    Args:
        categories: the categories, in the order in which the page shows them.
        kind: the control tag, for example BrushLabels, BitmaskLabels or PolygonLabels.
        image: the key of a task's data that holds the image's address, with a dollar sign.
        extras: what the config holds besides.

    Raises:
        LabelConfigError: XML cannot hold the name of a category or of a keypoint.
    """
    for name in chain.from_iterable((category.name, *category.keypoints) for category in categories):
        if NOT_IN_XML.search(name):
            raise LabelConfigError(
                f"expected names that the XML of a label config can hold, got {name!r:.100}: rename it in the "
                "dataset's list of names"
            )
    labels = "".join(
        f"    <Label value={quoteattr(category.name)} background={quoteattr(colour_of(category.name))} "
        f'category="{category.id}"{_kind_attribute(category)}/>\n'
        for category in categories
    )
    tags = {_LABEL: kind, **({_BOX: BOX_TAG} if extras.boxes and kind != BOX_TAG else {})}
    controls = "".join(f'  <{tag} name="{name}" toName="image">\n{labels}  </{tag}>\n' for name, tag in tags.items())
    return (
        f'<View>\n  <Image name="{_IMAGE}" value={quoteattr(image)} zoom="true"/>\n{controls}'
        f"{''.join(_keypoint_control(category) for category in categories if category.keypoints)}"
        f"{''.join(_answer_controls(extras))}</View>\n"
    )


def _kind_attribute(category: DatasetCategory) -> str:
    return f' kind="{category.kind}"' if category.kind else ""


def _keypoint_control(category: DatasetCategory) -> str:
    labels = "".join(
        f"    <Label value={quoteattr(name)} background={quoteattr(colour_of(name))}/>\n"
        for name in dict.fromkeys(category.keypoints)
    )
    skeleton = " ".join(f"{first}-{second}" for first, second in category.skeleton)
    return (
        f'  <KeyPointLabels name="{POINTS_CONTROL}{category.id}" toName="image" '
        f'{KEYPOINTS_OF}={quoteattr(category.name)} skeleton="{skeleton}">\n{labels}  </KeyPointLabels>\n'
    )


def _answer_controls(extras: Extras) -> Iterator[str]:
    choices = ((CROWD_CONTROL, CROWD, extras.crowds), (HIDDEN_CONTROL, HIDDEN, extras.hidden))
    for name, choice, is_needed in choices:
        if is_needed:
            yield f'  <Choices name="{name}" toName="image" perRegion="true"><Choice value="{choice}"/></Choices>\n'
    for name in extras.answers:
        yield f'  <TextArea name={quoteattr(name)} toName="image" perRegion="true" editable="true"/>\n'
