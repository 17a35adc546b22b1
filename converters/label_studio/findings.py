"""What `validate` reports: the kinds of faults, a fault, and a finding that says where the fault is.

Tested in tests/converters/label_studio/test_validate.py.
"""

from dataclasses import dataclass

KINDS = {
    "unreadable-task": "a task is no object, or has no address for an image",
    "unreadable-item": "annotations, predictions or their results are no lists of objects",
    "duplicate-task": "two tasks have one id",
    "duplicate-item": "two annotations, or two predictions, have one id",
    "duplicate-image": "one image is shown twice",
    "empty-result": "an annotation or prediction holds no region",
    "no-model-version": "a prediction does not say which model made it",
    "missing-prediction": "parent_prediction is of no prediction of the task",
    "bad-score": "a score is no number from 0 to 1",
    "bad-field": "a field beside the results is of another type than Label Studio's",
    "missing-name": "a result lacks from_name or to_name",
    "unknown-control": "from_name or to_name is in no control of the label config",
    "unknown-image": "item_index is of no image of the task",
    "unknown-type": "a result's type is not its control's",
    "no-label": "a region carries no label",
    "unknown-label": "a label is not among its control's",
    "unknown-choice": "a choice is not among its control's",
    "bad-value": "a choice, text, number, rating or date is not of its control's form",
    "no-shape": "a region lacks the keys of its shape",
    "other-shape": "a region has the shape of another tool than its control",
    "bad-size": "original_width or original_height is missing or impossible",
    "wrong-size": "the size is not that of the image, or of the other regions",
    "truncated-mask": "a mask's data is cut short or damaged",
    "faint-mask": "a mask's alpha is too low to be seen",
    "opaque-mask": "a bitmask has no transparency and covers all",
    "open-polygon": "a polygon is not closed",
    "crossing-polygon": "the outline of a polygon crosses itself",
    "negative-side": "a width, height or radius is negative",
    "no-area": "a region covers no pixel",
    "outside-image": "coordinates lie outside the image",
    "duplicate-id": "two regions have one id",
    "identical-regions": "two regions have the same shape and the same labels",
    "missing-region": "a relation or a parentID points at no region",
    "bad-relation": "a relation's direction is none, or two relations join the same regions",
    "missing-image": "the image is not in the folder",
    "unread-attribute": "an attribute of the label config looks like one of ours and is not",
    "bad-attribute": "an attribute of a label has a value that it cannot have",
}
"""The kinds of findings, and what each kind means."""


@dataclass(frozen=True)
class Fault:
    """One fault: `kind` is one of `KINDS`; what is wrong, and what to do."""

    kind: str
    what: str
    advice: str


@dataclass(frozen=True)
class Finding:
    """One fault and where it is: the task, the annotation or prediction (`item`), and the region.

    A fault of the label config is in no task: its `task` is None and its `item` is "label config".
    """

    kind: str
    task: int | str | None
    item: str
    region: str
    what: str
    advice: str

    def text(self) -> str:
        """Return the finding as one line of text."""
        task = "" if self.task is None else f"task {self.task}"
        place = ", ".join(part for part in (task, self.item, self.region) if part)
        return f"{place}: {self.what}. {self.advice} [{self.kind}]"
