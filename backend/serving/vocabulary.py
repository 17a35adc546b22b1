"""A project's label config as the vocabulary to look for, and where each found category is to be drawn.

    <BrushLabels name="brush" toName="image">
      <Label value="boat" prompts="a boat; a ship" kind="thing"/>
      <Label value="water" kind="stuff"/>
    </BrushLabels>

Each `<Label>` of a control that can hold a shape is a category. Label Studio keeps attributes it does not
know, so two of ours may stand on a label: `prompts`, the phrases to generate images from instead of the
label's own word, separated by semicolons; and `kind`, thing or stuff.

Drawing tools and labels are free to combine, so a rule says where a category goes: on each image to the
first control in the config that draws masks and has the label, else to the first rectangle control that has
it. So no object is answered twice, and smart rectangles beside brushes stay what they are, a way to ask.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from backend.errors import UnusableLabelConfigError
from converters.errors import LabelConfigError, RecordError
from converters.label_studio.categories import label_kind
from converters.label_studio.label_config import Control, ImageTag, Label, LabelConfig, labels_of, parse_label_config
from ovdiff.errors import VocabularyError
from ovdiff.vocabulary import Category, Vocabulary

MASK_CONTROLS = ("brushlabels", "bitmasklabels", "polygonlabels")
SHAPE_CONTROLS = (*MASK_CONTROLS, "rectanglelabels")


@dataclass(frozen=True)
class Output:
    """Where the regions of a category go: on which image, into which control, under which word."""

    category: Category
    image: ImageTag
    control: str
    control_kind: str
    label: str


@dataclass(frozen=True)
class Labelling:
    """What a label config asks for: its categories, and an output for each on each image."""

    outputs: tuple[Output, ...]

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories, each once, in the order of the label config."""
        return tuple(dict.fromkeys(output.category for output in self.outputs))

    def by_image(self, ready: Collection[Category]) -> dict[ImageTag, tuple[Output, ...]]:
        """Return for each image tag the outputs whose category is ready; some may have none."""
        images = dict.fromkeys(output.image for output in self.outputs)
        return {image: tuple(o for o in self.outputs if o.image == image and o.category in ready) for image in images}

    def fingerprint(self) -> str:
        """Return a hex hash of the categories, their order, and where they are drawn."""
        rows = [[o.image.name, o.image.value, o.control, o.control_kind, o.label] for o in self.outputs]
        vocabulary = Vocabulary(self.categories).fingerprint()
        return hashlib.sha256(json.dumps([vocabulary, rows]).encode()).hexdigest()


def read_labelling(label_config: str, *, max_categories: int) -> Labelling:
    """Return what a label config asks for.

    Raises:
        UnusableLabelConfigError: it is no label config, marks no image with shapes, has no labels there, says
            something impossible about one, or has more categories than allowed.
    """
    try:
        config = parse_label_config(label_config)
        labelling = Labelling(tuple(_outputs(config)))
        _require_usable(config, labelling, max_categories)
        Vocabulary(labelling.categories)
    except (LabelConfigError, RecordError, VocabularyError) as error:
        raise UnusableLabelConfigError(f"The label config cannot be used: {error}") from error
    return labelling


def _outputs(config: LabelConfig) -> Iterator[Output]:
    """Yield an output for each label on each image, by the rule in this module's docstring."""
    categories: dict[str, Category] = {}
    for image in config.images:
        controls = _shape_controls(config, image)
        for label in _distinct(labels_of(controls)):
            control = next(control for control in controls if label.value in control.label_values)
            category = categories.setdefault(label.value, _category(label))
            yield Output(category, image, control.name, control.kind, label.result_name)


def _shape_controls(config: LabelConfig, image: ImageTag) -> list[Control]:
    """Return the controls that draw on an image: masks before rectangles, else in the config's order."""
    controls = [
        control
        for control in config.of_kind(*SHAPE_CONTROLS)
        if image.name in (target.strip() for target in control.to_name.split(","))
    ]
    return sorted(controls, key=lambda control: control.kind not in MASK_CONTROLS)


def _distinct(labels: Iterable[Label]) -> list[Label]:
    """Return the first label of each value."""
    first: dict[str, Label] = {}
    for label in labels:
        first.setdefault(label.value, label)
    return list(first.values())


def _category(label: Label) -> Category:
    """Return a label as a category; a name that is an identifier is read as words."""
    prompts = tuple(part.strip() for part in label.attributes.get("prompts", "").split(";") if part.strip())
    words = label.value.replace("_", " ").strip()
    if not prompts and words != label.value:
        prompts = (words,)
    return Category(label.value, prompts, label_kind(label))


def _require_usable(config: LabelConfig, labelling: Labelling, max_categories: int) -> None:
    """Say what a config without outputs lacks, or that it has too many."""
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
    raise UnusableLabelConfigError(
        "The label config has no <Label value=...> in a control for an image. Write the labels into the "
        "config: labels that come with a task's data cannot be prepared."
    )
