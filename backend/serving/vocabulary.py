"""A project's label config as the vocabulary to look for, and as the places where its categories are drawn.

    <BrushLabels name="brush" toName="image">
      <Label value="boat" prompts="a boat; a ship" kind="thing" threshold="0.4" min_margin="0.02" min_area_px="50"/>
      <Label value="water" kind="stuff"/>
    </BrushLabels>

Each `<Label>` of a control that can hold a shape is a category. Label Studio keeps attributes that it does not know,
so a label may carry some of ours: `prompts`, the phrases from which images are generated instead of the label's own
name, separated by semicolons; `kind`, which is thing or stuff; `threshold`, the score below which its regions are
hidden; `min_margin`, the margin below which its pixels are; and `min_area_px`, below which parts of its mask are. An
attribute that looks like one of these and that nobody reads is a warning. The last three decide what is shown of a mask
and not the mask, so they are no part of a category.
A label with `skip="yes"` is one of people alone: it is no category. `learn="yes"` on the outermost tag says that the
project's annotations teach.

A label config may offer the same label in several controls, so a rule decides where a category is drawn. On each image
it is the first control of the config that draws masks and has the label; if there is none, it is the first rectangle
control that has the label. So no object is answered twice, and smart rectangles beside brushes remain a way to ask for
a mask. A control says otherwise by `output`: one with `output="yes"` comes first, one with `output="no"` shows nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from backend.errors import UnusableLabelConfigError
from converters.errors import LabelConfigError, RecordError
from converters.label_studio.categories import label_kind
from converters.label_studio.label_config import Control, ImageTag, Label, LabelConfig, parse_label_config
from converters.label_studio.own_attributes import (
    LABEL_CONTROLS,
    MIN_AREA,
    MIN_MARGIN,
    PROMPTS,
    THRESHOLD,
    UnreadAttribute,
    config_learns,
    control_output,
    label_min_area_px,
    label_min_margin,
    label_threshold,
    overruled,
    skipped_labels,
    unread_attributes,
)
from ovdiff.errors import VocabularyError
from ovdiff.vocabulary import Category, Vocabulary

MASK_CONTROLS = ("brushlabels", "bitmasklabels", "polygonlabels")
SHAPE_CONTROLS = (*MASK_CONTROLS, "rectanglelabels")
MOST_UNREAD = 20  # warnings about attributes; a label config may come from a stranger


@dataclass(frozen=True)
class Output:
    """The place of a category's regions: the image, the control, and the label as the control writes it.

    Attributes:
        category: what is looked for.
        image: the image on which the regions are drawn.
        control: the name of the control that draws them.
        control_kind: the tag of this control in lower case.
        label: the label as regions carry it.
        threshold: the score below which its regions are hidden, in [0, 1]; None leaves that to the settings.
        min_area_px: connected parts of fewer pixels of the image are hidden; 0 hides none.
        min_margin: pixels whose margin is lower are hidden, in [0, 1]; 0 hides none.
        colour: the label's colour in the editor, as the label config writes it; "" if it names none.
    """

    category: Category
    image: ImageTag
    control: str
    control_kind: str
    label: str
    threshold: float | None = None
    min_area_px: int = 0
    min_margin: float = 0.0
    colour: str = field(default="", compare=False)  # another colour is the same label


@dataclass(frozen=True)
class Labelling:
    """The content of a label config: an output for each category on each image.

    Attributes:
        outputs: where each category is drawn.
        unread: the attributes that look like ours and that nobody reads.
        learns: whether the project's annotations are to teach; None if the label config does not say. This changes no
            prediction by itself, so it is no part of the fingerprint.
    """

    outputs: tuple[Output, ...]
    unread: tuple[UnreadAttribute, ...] = ()
    learns: bool | None = None

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories in the order of the label config, without repetitions."""
        return tuple(dict.fromkeys(output.category for output in self.outputs))

    def by_image(self, ready: Collection[Category]) -> dict[ImageTag, tuple[Output, ...]]:
        """Return for each image tag the outputs whose category is ready, by name; an image tag may have no output.

        The masks would depend on the order of the label config otherwise: the prefilter joins the names of likely
        categories into captions in that order ("a cat and a dog"), and of equal scores the first category wins.
        """
        images = dict.fromkeys(output.image for output in self.outputs)
        by_name = sorted((o for o in self.outputs if o.category in ready), key=lambda output: output.category.name)
        return {image: tuple(output for output in by_name if output.image == image) for image in images}

    def fingerprint(self) -> str:
        """Return a hex hash of the categories, the controls into which they are drawn and what is hidden of them.

        The attributes of a label that change no prediction, such as its colour and its hotkey, are not in it.
        """
        rows = sorted(
            [
                [o.category.name, o.category.kind or "", *o.category.phrases],
                [o.image.name, o.image.value, o.control, o.control_kind, o.label, *_limits(o)],
            ]
            for o in self.outputs
        )
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


def read_labelling(label_config: str, *, max_categories: int) -> Labelling:
    """Return the categories of a label config, with their outputs.

    Raises:
        UnusableLabelConfigError: the text is not a label config, it has no control that marks an image with shapes,
            its controls have no labels, a label has an impossible attribute, or there are more categories than allowed.
    """
    try:
        config = parse_label_config(label_config)
        labelling = Labelling(tuple(_outputs(config)), tuple(_unread(config)), config_learns(config))
        _require_usable(config, labelling, max_categories)
        Vocabulary(labelling.categories)
    except (LabelConfigError, RecordError, VocabularyError) as error:
        raise UnusableLabelConfigError(f"The label config cannot be used: {error}") from error
    return labelling


def _outputs(config: LabelConfig) -> Iterator[Output]:
    """Yield an output for each label on each image, by the rule in this module's docstring."""
    categories: dict[str, Category] = {}
    for image in config.images:
        for control, label in _drawn(config, image):
            category = categories.setdefault(label.value, _category(label))
            limits = (label_threshold(label), label_min_area_px(label), label_min_margin(label))
            colour = label.attributes.get("background", "")
            yield Output(category, image, control.name, control.kind, label.result_name, *limits, colour)


def _unread(config: LabelConfig) -> Iterator[UnreadAttribute]:
    """Yield the first attributes that nobody reads, each once; a person mends a few and looks again."""
    found: dict[UnreadAttribute, None] = {}  # a control may mark two images
    for unread in chain(unread_attributes(config), _overruled(config)):
        if len(found) == MOST_UNREAD:
            return
        if unread not in found:
            found[unread] = None
            yield unread


def _overruled(config: LabelConfig) -> Iterator[UnreadAttribute]:
    """Yield our attributes on labels whose masks another control draws, or none; smart tools have such labels."""
    skipped = skipped_labels(config)
    for image in config.images:
        drawn = {label.value: label for _, label in _drawn(config, image)}
        for control in _controls(config, image, LABEL_CONTROLS):
            for label in (each for each in control.labels if each.value not in skipped):
                yield from overruled(label, control, drawn.get(label.value))


def _controls(config: LabelConfig, image: ImageTag, kinds: Iterable[str]) -> list[Control]:
    """Return the controls of an image, those for masks first, otherwise in the order of the config."""
    controls = [
        control
        for control in config.of_kind(*kinds)
        if image.name in (target.strip() for target in control.to_name.split(","))
    ]
    return sorted(controls, key=lambda control: control.kind not in MASK_CONTROLS)


def _drawn(config: LabelConfig, image: ImageTag) -> list[tuple[Control, Label]]:
    """Return the labels of an image without repeated values, each with the control that draws it."""
    first: dict[str, tuple[Control, Label]] = {}
    skipped = skipped_labels(config)
    outputs = [(control_output(control), control) for control in _controls(config, image, SHAPE_CONTROLS)]
    for wanted, control in sorted(outputs, key=lambda each: each[0] is not True):
        for label in control.labels:
            if wanted is not False and label.value not in skipped:
                first.setdefault(label.value, (control, label))
    return list(first.values())


def _limits(output: Output) -> list[str]:
    """Return what the label says is hidden; nothing if it says nothing, so that older model versions stay the same."""
    threshold = [] if output.threshold is None else [f"{THRESHOLD}={output.threshold}"]
    margin = [f"{MIN_MARGIN}={output.min_margin}"] if output.min_margin else []
    return threshold + margin + ([f"{MIN_AREA}={output.min_area_px}"] if output.min_area_px else [])


def _category(label: Label) -> Category:
    """Return a label as a category; underscores in its name are read as spaces."""
    prompts = tuple(part.strip() for part in label.attributes.get(PROMPTS, "").split(";") if part.strip())
    words = label.value.replace("_", " ").strip()
    if not prompts and words != label.value:
        prompts = (words,)
    return Category(label.value, prompts, label_kind(label))


def _require_usable(config: LabelConfig, labelling: Labelling, max_categories: int) -> None:
    """Refuse a label config with too many categories or with none, and say what it lacks."""
    count = len(labelling.categories)
    if count > max_categories:
        raise UnusableLabelConfigError(
            f"The label config has {count} labels, more than {max_categories} (OVDIFF_MAX_CATEGORIES)."
        )
    if count:
        return
    if not config.images:
        raise UnusableLabelConfigError("The label config shows no <Image>, so there is nothing to segment.")
    if not config.of_kind(*SHAPE_CONTROLS):
        kinds = ", ".join(sorted({control.kind for control in config.controls})) or "none"
        raise UnusableLabelConfigError(
            "The label config has no BrushLabels, BitmaskLabels, PolygonLabels or RectangleLabels for an "
            f"image; its controls: {kinds}."
        )
    if any(control.labels for control in config.of_kind(*SHAPE_CONTROLS)):
        raise UnusableLabelConfigError(
            'The label config says skip="yes" of every label or output="no" of every control that could show one, so '
            "there is nothing to predict."
        )
    raise UnusableLabelConfigError(
        "The label config has no <Label value=...> in a control for an image. Write the labels into the "
        "config: labels that come with a task's data cannot be prepared."
    )
