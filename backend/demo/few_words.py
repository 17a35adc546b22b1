"""The demo's second project: four words on a few scenes, so that everybody sees what happens to a word that is absent.

The scenes show other things too, and none of them shows an umbrella. The three other words are in some of the scenes.
What was painted is counted in the masks that Label Studio has stored.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from backend.demo.project import DemoScene, label_config, write_images
from backend.demo.session import Session
from backend.demo.stored import label_map, read_predictions

TITLE = "OVDiff demo: four words"
WORDS = ("boat", "water", "clock", "umbrella")
ABSENT = "umbrella"
SCENES = tuple(map(DemoScene, (0, 1, 2, 3, 9, 11, 18, 22)))
"""The first test scenes that show none of the words (three), a clock (two), water alone (one), and a boat on water."""
LEAST_SHARE = 0.005
"""A word is painted in an image, or is in it, where it takes more than this share of the pixels."""
_SIZE_PX = 512


@dataclass(frozen=True)
class WordInImage:
    """One word in one image.

    ``truth`` is the share of pixels that show the word, ``painted`` the share that was painted as it, and ``both`` the
    share for which both holds; each is from 0 to 1.
    """

    word: str
    file_name: str
    truth: float
    painted: float
    both: float

    @property
    def is_there(self) -> bool:
        """Whether the image shows the word."""
        return self.truth > LEAST_SHARE

    @property
    def is_painted(self) -> bool:
        """Whether the word was painted in the image."""
        return self.painted > LEAST_SHARE


@dataclass(frozen=True)
class Outcome:
    """What was painted in the project: an entry for each word and image."""

    project: int
    found: tuple[WordInImage, ...]

    def of(self, word: str) -> list[WordInImage]:
        """Return the entries of a word, one for each image."""
        return [item for item in self.found if item.word == word]

    def iou(self, word: str) -> float:
        """Return a word's intersection over union in all images together; 0 if it is nowhere and painted nowhere."""
        both = sum(item.both for item in self.of(word))
        union = sum(item.truth + item.painted for item in self.of(word)) - both
        return both / union if union else 0.0

    def painted_without(self, word: str) -> int:
        """Return in how many images a word was painted that do not show it."""
        return sum(item.is_painted and not item.is_there for item in self.of(word))

    def told(self) -> str:
        """Return a table for a person, and a sentence about the absent word."""
        count, painted = len(self.of(ABSENT)), self.painted_without(ABSENT)
        rows = [("word", "images that show it", "painted in", "painted where it is not")]
        for word in WORDS:
            items = self.of(word)
            shown, drawn = sum(item.is_there for item in items), sum(item.is_painted for item in items)
            rows.append((word, str(shown), f"{drawn} images", f"{self.painted_without(word)} images"))
        widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
        lines = ["  " + "  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
        return (
            f"A second project asks for four words on {count} images. What was painted, as Label Studio stored it:\n\n"
            + "\n".join(lines)
            + f"\n\nNo image shows {_with_article(ABSENT)}, and the word was painted in "
            + ("none of them." if painted == 0 else f"{painted} of the {count} images: there the method is wrong.")
        )


def make_few_words(session: Session, folder: Path, size_px: int = _SIZE_PX) -> Outcome:
    """Make or complete the second project, have it predicted, and return what was painted.

    Raises:
        DemoError: a server did not do what it was asked, or a stored mask cannot be read.
    """
    maker = session.maker
    images = write_images(SCENES, folder / "few-words", size_px)
    project = maker.ensure_project(TITLE, label_config(WORDS), images)
    maker.connect(project)
    session.backend.wait_for_prototypes(project, maker.console)
    maker.predict(project)
    version = str(maker.api.backends(project)[0]["model_version"])
    found: list[WordInImage] = []
    scenes = {scene.file_name: scene for scene in SCENES}
    for stored in read_predictions(maker.api, project):
        if scene := scenes.get(stored.task.file_name):  # People may add images and labels of their own.
            regions = stored.of_version(version).regions
            names = list(dict.fromkeys([*WORDS, *(label for region in regions for label in region.labels)]))
            found += words_in_image(scene, label_map(regions, names, (size_px, size_px)))
    return Outcome(project, tuple(found))


def words_in_image(scene: DemoScene, painted: NDArray[np.int32]) -> list[WordInImage]:
    """Compare a scene's truth with a label map (S, S); its value is 1 + the index of one of the words."""
    rendering = scene.render(painted.shape[0])
    entries = []
    for number, word in enumerate(WORDS, start=1):
        truth, mask = rendering.mask(word), painted == number
        shares = [float(np.mean(part)) for part in (truth, mask, truth & mask)]
        entries.append(WordInImage(word, scene.file_name, *shares))
    return entries


def _with_article(word: str) -> str:
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
