"""What to do first: three sentences for a person who leads annotators, derived from the figures of a report.

Each rule looks at one figure and gives a sentence with a weight, or nothing. The three heaviest are said. A weight is
about the share of the repairs (regions that a person changed, added or removed) that the advice could spare. A rule is
silent where the figures are few, or where chance explains them (the intervals of two shares overlap).
"""

from collections.abc import Callable
from dataclasses import dataclass

from converters.corrections.result import CategoryReport, CorrectionReport, WorstImage
from converters.corrections.threshold import FEWEST_REGIONS
from converters.metrics.intervals import are_apart, wilson_interval
from converters.report.text import FEW, accepted_words, counted, interval_words, number, seconds

COUNT = 3
_ALIKE_IOU = 0.85  # outlines that agree better than this differ by taste rather than by error
_MOST = 0.5  # a share of accepted regions below which nobody should be told to go on
_MOST_NAMED = 2  # labels with a low IoU in one sentence; the page's first chart shows all
_PROMPTS = 'prompts="..." in the label config'


@dataclass(frozen=True)
class Advice:
    """What to do and why, plain text that is not escaped; its weight; and the image that it speaks of, if it is one."""

    what: str
    why: str
    weight: float
    image: WorstImage | None = None

    @property
    def sentence(self) -> str:
        """The advice as one sentence."""
        return f"{self.what}: {self.why}."


def what_to_do(report: CorrectionReport) -> tuple[Advice, ...]:
    """Return three pieces of advice, the most useful first."""
    found = [advice for rule in _RULES if (advice := rule(report)) is not None]
    return tuple(sorted([*found, *_always(report)], key=lambda advice: -advice.weight)[:COUNT])


# ---------------------------------------------------------------- rules


def _too_few(report: CorrectionReport) -> Advice | None:
    regions = report.regions.predicted + report.regions.added
    if regions >= FEWEST_REGIONS:
        return None
    why = f"{counted(regions, 'region')} cannot tell a habit from chance, {FEWEST_REGIONS} are a beginning"
    return Advice("Correct more images before you change anything", why, weight=2.0)


def _category(report: CorrectionReport) -> Advice | None:
    """Speak of the category with the most repairs, by what most of them were."""
    category = max(report.categories, key=lambda category: category.regions.touched, default=None)
    if category is None or category.regions.touched < FEW:
        return None
    regions = category.regions
    kinds: dict[Callable[[CorrectionReport, CategoryReport, str], tuple[str, str]], int] = {
        _grouped: 2 * (regions.splits + regions.merges),  # a split is at least a changed and an added region
        _missed: regions.added,
        _not_there: regions.removed,
        _relabelled: regions.relabelled,
        _redrawn: regions.changed - regions.relabelled,
    }
    kind = max(kinds, key=lambda kind: kinds[kind])
    share = regions.touched / report.regions.touched
    all_or_some = "all" if kinds[kind] == regions.touched else f"{kinds[kind]} of"
    of_all = f"{all_or_some} its {regions.touched} repairs ({round(100 * share)} % of all repairs are its own)"
    return Advice(*kind(report, category, of_all), weight=share)


def _missed(report: CorrectionReport, category: CategoryReport, of_all: str) -> tuple[str, str]:
    return (
        f"Help the model to find “{category.name}”",
        f"{of_all} were regions that it had missed, so give the label more or other phrases ({_PROMPTS}) and predict "
        "anew",
    )


def _not_there(report: CorrectionReport, category: CategoryReport, of_all: str) -> tuple[str, str]:
    return (
        f"Keep the model from seeing “{category.name}” where there is none",
        f"{of_all} were regions that people removed, so say the label in a more exact phrase ({_PROMPTS}), or give "
        "what it is taken for a label of its own",
    )


def _relabelled(report: CorrectionReport, category: CategoryReport, of_all: str) -> tuple[str, str]:
    other = _taken_for(report, category.name)
    border = f"where “{category.name}” ends and “{other}” begins" if other else f"what is “{category.name}”"
    return f"Agree on {border}", f"{of_all} gave a region another label, so write the rule into the instructions"


def _redrawn(report: CorrectionReport, category: CategoryReport, of_all: str) -> tuple[str, str]:
    changed = f"{of_all} changed the outline alone"
    agreement = f"predictions and annotations agree to an IoU of {number(category.iou)}"
    if category.iou is not None and category.iou >= _ALIKE_IOU:
        return f"Say how exact an outline of “{category.name}” has to be", f"{changed}, although {agreement}"
    return (
        f"Tell people to draw “{category.name}” anew where less than half of a prediction is right",
        f"{changed}, and {agreement} only",
    )


def _grouped(report: CorrectionReport, category: CategoryReport, of_all: str) -> tuple[str, str]:
    splits, merges = category.regions.splits, category.regions.merges
    done = [
        *([f"split {counted(splits, 'predicted region')} into several"] if splits else []),
        *([f"merged several into one {counted(merges, 'time')}"] if merges else []),
    ]
    return (
        f"Say in the instructions whether “{category.name}” that touch each other are one region or several",
        f"people {' and '.join(done)}, which is {of_all}",
    )


def _taken_for(report: CorrectionReport, name: str) -> str | None:
    """Return the label that most pixels predicted as `name` have in the annotations, background and itself aside."""
    labels = report.confusion.labels
    given = labels.index(name, 1)
    pixels = {label: row[given] for label, row in zip(labels[1:], report.confusion.pixels[1:], strict=True)}
    pixels.pop(name)
    most = max(pixels, key=lambda label: pixels[label], default=None)
    return most if most is not None and pixels[most] else None


def _hide(report: CorrectionReport) -> Advice | None:
    found = report.threshold
    if found.hide_below is None:
        return None
    useful = f"only {interval_words(found.hidden_useful, found.hidden)}" if found.hidden_useful else "none"
    return Advice(
        f"Hide predicted regions with a score below {found.hide_below:.1f}",
        f"{useful} of these {found.hidden} were worth correcting, the others were removed, relabelled, or less than "
        f"half right. OVDIFF_MIN_SCORE={found.hide_below:.1f} hides them in the backend, "
        f'threshold="{found.hide_below:.1f}" in the label config those of one label',
        weight=(found.hidden - 2 * found.hidden_useful) / max(1, report.regions.touched),
    )


def _trust(report: CorrectionReport) -> Advice | None:
    found = report.threshold
    if found.trust_from is None:
        return None
    return Advice(
        f"Look at predicted regions with a score of {found.trust_from:.1f} or more last, or at samples of them",
        f"people accepted {interval_words(found.trusted_accepted, found.trusted)} of {found.trusted} as they were",
        weight=0.5 * found.trusted / max(1, report.regions.predicted),
    )


def _people(report: CorrectionReport) -> Advice | None:
    """Speak of the two people who accept least and most, if that is not chance."""
    known = [person for person in report.annotators if person.name and person.regions.predicted >= FEW]
    if len(known) < 2:
        return None
    strict, *_, lenient = sorted(known, key=lambda person: person.regions.accepted_share or 0.0)
    if not are_apart(*(wilson_interval(p.regions.accepted, p.regions.predicted) for p in (strict, lenient))):
        return None
    shares = [f"{accepted_words(p.regions)} of {p.regions.predicted}" for p in (strict, lenient)]
    return Advice(
        f"Let {strict.name} and {lenient.name} correct the same ten tasks and compare them",
        f"the first accepted {shares[0]} predicted regions as they were, the second {shares[1]}",
        weight=0.5 * ((lenient.regions.accepted_share or 0.0) - (strict.regions.accepted_share or 0.0)),
    )


def _small(report: CorrectionReport) -> Advice | None:
    """Speak of small objects if the model finds a smaller share of them than of the others."""
    small, *larger = [size.regions for size in report.sizes]
    found = [small.accepted + small.changed, sum(regions.accepted + regions.changed for regions in larger)]
    there = [found[0] + small.added, found[1] + sum(regions.added for regions in larger)]
    shares = [wilson_interval(*counts) for counts in zip(found, there, strict=True)]
    if min(there) < FEW or not are_apart(*shares) or found[0] / there[0] > found[1] / there[1]:
        return None
    return Advice(
        "Ask people to look for small objects (below 32 x 32 pixels)",
        f"the model found {interval_words(found[0], there[0])} of {there[0]}, and {interval_words(found[1], there[1])} "
        f"of the {there[1]} larger ones",
        weight=0.5 * small.added / max(1, report.regions.touched),
    )


def _time(report: CorrectionReport) -> Advice | None:
    corrected, scratch = report.seconds.corrected, report.seconds.from_scratch
    if min(corrected.annotations, scratch.annotations) < FEW or corrected.median is None or scratch.median is None:
        return None
    times = (
        f"correcting one takes {seconds(corrected.median)} and drawing everything {seconds(scratch.median)} "
        f"(medians of {corrected.annotations} and {scratch.annotations} annotations)"
    )
    if corrected.median > scratch.median:
        return Advice("Let people begin without predictions until these are better", times, weight=0.8)
    return Advice("Keep giving people predictions", times, weight=0.04)


def _worst(report: CorrectionReport) -> Advice | None:
    if not report.worst:
        return None
    image = report.worst[0]
    return Advice(
        f"Open task {image.task_id} to see what goes wrong",
        f"there the prediction agrees least with the annotation (mean IoU {number(image.mean_iou)})",
        weight=0.1 * (1 - image.mean_iou),
        image=image,
    )


_RULES = (_too_few, _category, _hide, _trust, _people, _small, _time, _worst)


def _always(report: CorrectionReport) -> tuple[Advice, ...]:
    """Return advice for a report in which hardly any rule finds something."""
    predicted, share = report.regions.predicted, report.regions.accepted_share
    accepted = f"{accepted_words(report.regions)} of {counted(predicted, 'predicted region')} as they were"
    if share is None:
        first = ("Go on as you do", "no region was predicted")
    elif share >= _MOST:
        first = ("Go on as you do", f"people accepted {accepted}")
    else:
        first = ("Have ten tasks drawn without predictions, and compare the times", f"people accepted only {accepted}")
    return (
        Advice(*first, weight=0.003),
        Advice("Look at the categories one by one", _lowest_labels(report), weight=0.002),
        Advice("Make this report again after the next hundred tasks", "then the two can be compared", weight=0.001),
    )


def _lowest_labels(report: CorrectionReport) -> str:
    """Name the labels that the page shows first, those with the lowest IoU, and say where their regions are few."""
    measured = {category: category.iou for category in report.categories if category.iou is not None}
    low = sorted((category for category, iou in measured.items() if iou < _ALIKE_IOU), key=lambda c: measured[c])
    if not measured:
        return "no label has been predicted or annotated so far"
    if not low:
        return f"each label's IoU is {number(_ALIKE_IOU)} or more, so none stands out by itself"
    return f"the IoU is lowest for {' and '.join(_low_label(category) for category in low[:_MOST_NAMED])}"


def _low_label(category: CategoryReport) -> str:
    regions = category.regions.predicted + category.regions.added
    few = ", which are too few to say" if regions < FEW else ""
    return f"“{category.name}” ({number(category.iou)}, of {counted(regions, 'region')}{few})"
