"""The check of the demo's second project: words are painted where they are, and an absent word is not painted."""

from backend.demo.checks import Demo
from backend.demo.few_words import ABSENT, WORDS, make_few_words

MOST_ABSENT_IMAGES = 1
"""In how many images the absent word may be painted; 0 is wanted, and one more is left to other weights."""
LEAST_IOU = 0.5


def check_few_words(demo: Demo) -> None:
    """Check that each word is painted on what it names, and that the absent word is painted in hardly any image."""
    outcome = make_few_words(demo.session, demo.folder)
    demo.session.maker.console.say(outcome.told())
    shown = sum(item.is_there for item in outcome.of(ABSENT))
    demo.report.add(f"four words: images that show the {ABSENT}", 0, shown)
    painted = outcome.painted_without(ABSENT)
    wanted = f"0, {MOST_ABSENT_IMAGES} with other weights"
    demo.report.add(f"four words: images painted as {ABSENT}", wanted, painted, painted <= MOST_ABSENT_IMAGES)
    for word in WORDS:
        if word != ABSENT:
            iou, elsewhere = outcome.iou(word), outcome.painted_without(word)
            demo.report.add(f"four words: IoU of {word}", f"{LEAST_IOU:.2f} or more", f"{iou:.2f}", iou >= LEAST_IOU)
            demo.report.add(f"four words: images without {word} painted as {word}", "told", elsewhere, True)
