"""Lessons that are made up, and the words that they speak about."""

import numpy as np

from ovdiff.bank.lessons import Lesson, LessonRows, LessonWord
from ovdiff.segmenting.anchors import Competition
from ovdiff.segmenting.lessons.examples import Groups
from ovdiff.vocabulary import Vocabulary

WORDS = Vocabulary(["mug", "sky", "car", "sea"])
STUFF = frozenset({1, 3})
PHRASES = [(name,) for name in WORDS.names]
GROUPS = Groups.of(Competition(WORDS, 3), STUFF, PHRASES, [])  # "sea" is an anchor


def made_up_lesson(
    seed: int, depth: int, turn: int = 0, covered: bool = True, names: tuple[str, ...] = WORDS.names
) -> Lesson:
    """A lesson whose cells lie near axes 4 to 7: axis 4 + n is background and the words n; ``turn`` mixes them up."""
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(4), 6).astype(np.int32)
    vectors = np.eye(depth)[4 + (labels + turn) % 4] + 0.02 * random.normal(size=(24, depth))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = LessonRows(vectors.astype(np.float32), labels, labels, np.ones(24, np.float32))
    words = tuple(LessonWord(name, (name,), covered or name == "mug") for name in names)
    return Lesson("0" * 64, "r", "i", words, True, {"made up": rows})
