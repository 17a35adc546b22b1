"""The attributes of a label config that are ours: their values, and a look for those that nobody reads.

    <View learn="yes">
      <BrushLabels name="brush" toName="image" output="yes">
        <Label value="boat" prompts="a boat; a ship" kind="thing" threshold="0.4" min_margin="0.02" min_area_px="50"/>
        <Label value="unsure" skip="yes"/>

Label Studio keeps attributes that it does not know and says nothing of them, so a misspelled one would do nothing in
silence. `unread_attributes` finds what looks like one of ours and is not: `prompt=` for `prompts=`, or `threshold=` on
a control instead of its labels. Attributes of Label Studio itself are never taken for misspelled ones of ours.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from converters.errors import RecordError
from converters.label_studio.label_config import Control, Label, LabelConfig
from converters.label_studio.region_details import KEYPOINTS_OF

PROMPTS, KIND, THRESHOLD, MIN_MARGIN, MIN_AREA, SKIP = (
    "prompts",
    "kind",
    "threshold",
    "min_margin",
    "min_area_px",
    "skip",
)
OUTPUT = "output"
LEARN = "learn"
_OF_LABELS = (PROMPTS, KIND, THRESHOLD, MIN_MARGIN, MIN_AREA, SKIP, "category")
_OF_SHAPES = (OUTPUT,)
_OF_PROJECTS = (LEARN,)
_OF_KEYPOINTS = (KEYPOINTS_OF, "skeleton")

_LABEL_STUDIOS = frozenset({"category", "defaultthreshold", "skeleton"})
"""Label Studio 1.23.2's own attributes that are like ours; `category` is read by its own converter and by this one."""

LABEL_CONTROLS = ("brushlabels", "bitmasklabels", "polygonlabels", "rectanglelabels", "ellipselabels", "keypointlabels")
"""Controls whose labels may be categories; the attributes of other controls, such as those of texts, are not ours."""

_ALIKE = 0.75
"""Two names are alike from this share of common letters on (`difflib`). Of all 314 attributes of Label Studio 1.23.2's
editor the most alike is `defaultthreshold`, with 0.72 to `threshold`; `min_area` has 0.84 to `min_area_px`."""

_MOST_NAMES = 300  # a label config of Label Studio has about a dozen
_LONGEST_NAME = 30  # twice the longest of ours

_SCORE = re.compile(r"[0-9]{1,4}(\.[0-9]{0,17})?|\.[0-9]{1,17}")
_MOST_DIGITS = 11  # of pixels: a thousand times the largest image that is read
_SHOWN_CHARACTERS = 60
_OUTERMOST = "the outermost tag"
_WORDS = {"": None, "yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


@dataclass(frozen=True)
class UnreadAttribute:
    """An attribute that looks like one of ours and that nobody reads.

    Attributes:
        name: the name of the attribute, as written.
        what: the tag, the attribute and its value, as a part of a sentence.
        advice: what to do, as a sentence.
    """

    name: str
    what: str
    advice: str

    def text(self) -> str:
        """Return what is wrong and what to do, as two sentences."""
        return f"{self.what}. {self.advice}"


def label_threshold(label: Label) -> float | None:
    """Return the score below which regions of a label are hidden, in [0, 1]; None if the label does not say.

    Raises:
        RecordError: the attribute is no number from 0 to 1.
    """
    return _share(label, THRESHOLD, "a score from 0 to 1, such as 0.5")


def label_min_margin(label: Label) -> float:
    """Return the margin below which a label's pixels are background, in [0, 1]; 0 if the label does not say.

    Raises:
        RecordError: the attribute is no number from 0 to 1.
    """
    return _share(label, MIN_MARGIN, "a margin from 0 to 1, such as 0.02") or 0.0


def _share(label: Label, name: str, expected: str) -> float | None:
    text = label.attributes.get(name, "").strip()
    if not text:
        return None
    share = read_score(text)
    if share is None:
        raise RecordError(
            f"expected {name}= of the label {label.value!r} to be {expected}, got {text[:_SHOWN_CHARACTERS]!r}"
        )
    return share


def read_score(text: str) -> float | None:
    """Return a decimal number from 0 to 1; None if the text is none."""
    score = float(text) if _SCORE.fullmatch(text) else -1.0
    return score if 0 <= score <= 1 else None


def label_min_area_px(label: Label) -> int:
    """Return the pixels of the image that a part of a label's mask must have to be shown; 0 if the label does not say.

    Raises:
        RecordError: the attribute is no whole number of pixels.
    """
    text = label.attributes.get(MIN_AREA, "").strip()
    if not text:
        return 0
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        raise RecordError(
            f"expected {MIN_AREA}= of the label {label.value!r} to be a whole number of pixels of the image, such as "
            f"50, got {text[:_SHOWN_CHARACTERS]!r}"
        )
    return int(text)


def label_is_skipped(label: Label) -> bool:
    """Say whether a label is one of people alone, which nobody predicts.

    Raises:
        RecordError: the attribute is neither yes nor no.
    """
    return _yes_or_no(label.attributes.get(SKIP, ""), f"{SKIP}= of the label {label.value!r}") or False


def control_output(control: Control) -> bool | None:
    """Say whether a control is to show predictions; ``None`` if it does not say.

    Raises:
        RecordError: the attribute is neither yes nor no.
    """
    return _yes_or_no(control.attributes.get(OUTPUT, ""), f"{OUTPUT}= of {tag_of(control)}")


def config_learns(config: LabelConfig) -> bool | None:
    """Say whether the annotations of a project are to teach; ``None`` if its label config does not say.

    Raises:
        RecordError: the attribute is neither yes nor no.
    """
    return _yes_or_no(config.attributes.get(LEARN, ""), f"{LEARN}= of {_OUTERMOST}")


def skipped_labels(config: LabelConfig) -> frozenset[str]:
    """Return the names of the labels that are skipped in any of their controls.

    Raises:
        RecordError: an attribute is neither yes nor no.
    """
    controls = config.of_kind(*LABEL_CONTROLS)
    return frozenset(label.value for control in controls for label in control.labels if label_is_skipped(label))


def _yes_or_no(text: str, what: str) -> bool | None:
    word = text.strip().lower()
    if word not in _WORDS:
        raise RecordError(f"expected {what} to be yes or no, got {text[:_SHOWN_CHARACTERS]!r}")
    return _WORDS[word]


def impossible_values(config: LabelConfig, *readers: Callable[[Label], object]) -> Iterator[str]:
    """Yield what is wrong with the values of our attributes, each message once.

    Args:
        config: the label config.
        readers: further functions that read an attribute of a label and raise a RecordError.
    """
    looks: list[Callable[[], object]] = [partial(config_learns, config)]
    of_labels = (label_threshold, label_min_margin, label_min_area_px, label_is_skipped, *readers)
    for control in config.of_kind(*LABEL_CONTROLS):
        looks.append(partial(control_output, control))
        looks += [partial(read, label) for label in control.labels for read in of_labels]
    said: set[str] = set()
    for look in looks:
        try:
            look()
        except RecordError as error:
            if str(error) not in said:
                said.add(str(error))
                yield str(error)


def overruled(label: Label, control: Control, drawn: Label | None) -> Iterator[UnreadAttribute]:
    """Yield the attributes of a label that are not read, because another control draws the label, or none does.

    Args:
        label: the label.
        control: the control that has the label.
        drawn: the label of the same value in the control that draws it; None if none does.
    """
    for name in (PROMPTS, THRESHOLD, MIN_MARGIN, MIN_AREA):
        value = label.attributes.get(name, "")
        if value and (drawn is None or drawn.attributes.get(name) != value):
            advice = "Write it into the <Label> of the control that draws the masks."
            yield _unread(f"the label {label.value!r} of {tag_of(control)}", name, value, advice)


def unread_attributes(config: LabelConfig) -> Iterator[UnreadAttribute]:
    """Yield the attributes of labels and controls that look like ours and that nobody reads, in the config's order.

    Of the names of attributes the first 300 are looked at, because the comparison takes time and a label config may
    come from a stranger.
    """
    look_up = _LookUp()
    for name, value in _unknown(config.attributes.items(), _OF_PROJECTS):
        if meant := look_up.meant(name, _OF_PROJECTS):
            yield _unread(_OUTERMOST, name, value, f"Write {meant}={_quoted(value)}.")
    for control in config.of_kind(*LABEL_CONTROLS):
        own = _OF_KEYPOINTS if control.kind == "keypointlabels" else _OF_SHAPES
        yield from _unread_of_control(control, own, look_up)
        for label in control.labels:
            where = f"the label {label.value!r} of {tag_of(control)}"
            for name, value in _unknown(label.attributes.items(), _OF_LABELS):
                if meant := look_up.meant(name, _OF_LABELS):
                    yield _unread(where, name, value, f"Write {meant}={_quoted(value)}.")


def tag_of(control: Control) -> str:
    """Return a control as a person finds it in the label config, such as <brushlabels name='brush'>."""
    return f"<{control.kind} name={control.name!r}>"


class _LookUp:
    """Which attributes of ours names are like; each name is compared once, and at most `_MOST_NAMES` are."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, tuple[str, ...]], str | None] = {}

    def meant(self, name: str, own: tuple[str, ...]) -> str | None:
        """Return the attribute of ours that a name is like; None if there is none, or after too many names."""
        key = (name, own)
        if key not in self._known:
            if len(self._known) >= _MOST_NAMES or len(name) > _LONGEST_NAME:
                return None
            self._known[key] = _alike(name, own)
        return self._known[key]


def _unread_of_control(control: Control, own: tuple[str, ...], look_up: _LookUp) -> Iterator[UnreadAttribute]:
    for name, value in _unknown(control.attributes.items(), own):
        if meant := look_up.meant(name, own):
            yield _unread(tag_of(control), name, value, f"Write {meant}={_quoted(value)}.")
        elif meant := look_up.meant(name, _OF_LABELS):
            advice = f"Write {meant}={_quoted(value)} into each <Label> that it is for."
            yield _unread(tag_of(control), name, value, advice)
        elif name.lower() in _OF_PROJECTS:
            advice = f"Write {name.lower()}={_quoted(value)} into {_OUTERMOST}, <View>: it is for the whole project."
            yield _unread(tag_of(control), name, value, advice)


def _unknown(attributes: Iterable[tuple[str, str]], own: Iterable[str]) -> Iterator[tuple[str, str]]:
    return ((name, value) for name, value in attributes if name not in own and name.lower() not in _LABEL_STUDIOS)


def _alike(name: str, own: Iterable[str]) -> str | None:
    """Return the attribute of ours that a name is like; letter case and the kind of hyphen do not count."""
    by_letters = {each.lower(): each for each in own}
    near = difflib.get_close_matches(name.lower().replace("-", "_"), by_letters, n=1, cutoff=_ALIKE)
    return by_letters[near[0]] if near else None


def _unread(where: str, name: str, value: str, advice: str) -> UnreadAttribute:
    return UnreadAttribute(name, f"{name}={_quoted(value)} of {where} is not read", advice)


def _quoted(value: str) -> str:
    shown = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}..."
    return f'"{shown}"'
