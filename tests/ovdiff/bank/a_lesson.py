"""Lessons of few numbers for tests, made without a model."""

import hashlib

import numpy as np

from ovdiff.bank.lessons import Lesson, LessonCrops, LessonRows, LessonSource, LessonWord

RECIPE = "5e" * 32


def unit(count: int, depth: int, seed: int) -> np.ndarray:
    """Return vectors (count, depth) float32 of length 1 that float16 holds exactly: each has one 1."""
    vectors = np.zeros((count, depth), np.float32)
    vectors[np.arange(count), np.random.default_rng(seed).integers(0, depth, count)] = 1
    return vectors


def a_lesson(
    seed: int = 0, *, recipe: str = RECIPE, words: tuple[str, ...] = ("ball", "mug"), task: str = ""
) -> Lesson:
    """Return a complete lesson of five rows: the first word is in the image, the others are absent."""
    labels, predicted = np.array([1, 1, 0, 1, 0], np.int32), np.array([1, 2, 2, 0, 0], np.int32)
    rows = LessonRows(unit(5, 4, seed), labels, predicted, np.arange(1, 6, dtype=np.float32))
    crops = LessonCrops(
        unit(2, 3, seed), np.array([1, 1], np.int32), np.array([1, 2], np.int32), np.full(2, 0.1, np.float32)
    )
    return Lesson(
        hashlib.sha256(f"{seed} {recipe} {words}".encode()).hexdigest(),
        recipe,
        hashlib.sha256(f"image {seed}".encode()).hexdigest(),
        tuple(LessonWord(word, (word,)) for word in words),
        True,
        {"clip": rows},
        crops,
        unit(1, 3, seed)[0],
        source=LessonSource("1", task or str(seed), str(100 + seed), "ann@example.org", "2026-11-21T10:00:00Z"),
    )
