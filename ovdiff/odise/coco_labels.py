"""The 133 categories of COCO panoptic, with which the released heads were trained (C.2).

The names are COCO's own. The lists of synonyms that the authors trained with belong to other projects and are not
here; a file of them can be given to `ovdiff odise convert --labels`.
"""

from pathlib import Path

from ovdiff.errors import VocabularyError
from ovdiff.odise.naming import Label

_THINGS = """
person, bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign,
parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, handbag,
tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, surfboard,
tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, broccoli, carrot,
hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, laptop, mouse, remote,
keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, scissors, teddy bear,
hair drier, toothbrush
"""
_STUFF = """
banner, blanket, bridge, cardboard, counter, curtain, door-stuff, floor-wood, flower, fruit, gravel, house, light,
mirror-stuff, net, pillow, platform, playingfield, railroad, river, road, roof, sand, sea, shelf, snow, stairs, tent,
towel, wall-brick, wall-stone, wall-tile, wall-wood, water-other, window-blind, window-other, tree-merged,
fence-merged, ceiling-merged, sky-other-merged, cabinet-merged, table-merged, floor-other-merged, pavement-merged,
mountain-merged, grass-merged, dirt-merged, paper-merged, food-other-merged, building-other-merged, rock-merged,
wall-other-merged, rug-merged
"""
_SUFFIXES = ("stuff", "other", "merged")


def coco_labels() -> tuple[Label, ...]:
    """Return the 133 labels, each with one synonym: its name without COCO's suffixes ("sky-other-merged" is "sky")."""
    named = [(name, False) for name in _names(_THINGS)] + [(name, True) for name in _names(_STUFF)]
    return tuple(Label(name, (_spoken(name),), stuff) for name, stuff in named)


def read_labels(path: Path) -> tuple[Label, ...]:
    """Read labels from a text file: a line a label, "thing" or "stuff", a tab, and its synonyms between commas.

    The first synonym is the label's name. Empty lines and lines that begin with # are skipped.

    Raises:
        VocabularyError: the file cannot be read, or a line is no label; the message names it.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise VocabularyError(f"{path} cannot be read as labels: {error}.") from error
    found = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        kind, _, words = line.partition("\t")
        synonyms = tuple(word.strip() for word in words.split(",") if word.strip())
        if kind.strip() not in ("thing", "stuff") or not synonyms:
            raise VocabularyError(
                f'{path}, line {number} is {line!r}; expected "thing" or "stuff", a tab, and synonyms.'
            )
        found.append(Label(synonyms[0], synonyms, kind.strip() == "stuff"))
    if not found:
        raise VocabularyError(f"{path} has no label.")
    return tuple(found)


def _names(listed: str) -> list[str]:
    return [name.strip() for name in listed.replace("\n", " ").split(",")]


def _spoken(name: str) -> str:
    return " ".join(word for word in name.split("-") if word not in _SUFFIXES)
