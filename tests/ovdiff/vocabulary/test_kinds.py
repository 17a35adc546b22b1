"""Who decides about a category's kind, and by what."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from ovdiff.presets.segmenting_settings import StuffFilterSettings
from ovdiff.vocabulary import Category
from ovdiff.vocabulary.kind_table import COMPARED_NAMES
from ovdiff.vocabulary.kinds import KindDecision, NearestKinds, known_kind

PARITY = StuffFilterSettings()
NEAREST = StuffFilterSettings(unknown_names="nearest")


def _kind(category: Category, settings: StuffFilterSettings = PARITY) -> tuple[str, str]:
    found = known_kind(category, settings)
    assert found is not None and found.name == category.name
    return found.kind, found.decided_by


def test_name_decides_and_case_does_not_matter() -> None:
    assert _kind(Category(" Sky ")) == ("stuff", "table")
    assert _kind(Category("BOAT")) == ("thing", "table")


@pytest.mark.parametrize("name", ["runway", "Land", "television receiver"])
def test_a_name_of_the_released_table_is_not_left_to_clip(name: str) -> None:
    assert _kind(Category(name), NEAREST) == ("thing", "table")


def test_a_name_that_holds_a_stuff_word_is_unknown() -> None:
    assert _kind(Category("water bottle")) == ("thing", "default")
    assert known_kind(Category("water bottle"), NEAREST) is None


def test_category_overrides_preset_overrides_table() -> None:
    sandy = StuffFilterSettings(extra_stuff=("Sand",))
    assert _kind(Category("sand"), sandy) == ("stuff", "preset")
    assert _kind(Category("sand", kind="thing"), sandy) == ("thing", "category")
    assert _kind(Category("boat", kind="stuff")) == ("stuff", "category")
    assert _kind(Category("sand")) == ("thing", "table")


class Letters:
    """A text encoder that counts letters: texts of the same letters are equal. Reads at most 30 characters."""

    def __init__(self) -> None:
        self.seen: list[str] = []

    def embed(self, texts: Sequence[str]) -> list[Tensor | None]:
        self.seen += texts
        return [self._vector(text) if len(text) <= 30 else None for text in texts]

    def _vector(self, text: str) -> Tensor:
        counts = torch.tensor([float(text.count(letter)) for letter in "abcdefghijklmnopqrstuvwxyz"])
        return counts / counts.norm()


@pytest.mark.parametrize(
    ("category", "kind", "nearest"),
    [
        (Category("kys"), "stuff", "sky"),
        (Category("Hund", ("god",)), "thing", "dog"),
        (Category("grasss"), "stuff", "grass"),
        (Category("lava"), "stuff", "lav"),
    ],
)
def test_an_unknown_name_is_as_the_nearest_known_one(category: Category, kind: str, nearest: str) -> None:
    settings = StuffFilterSettings(unknown_names="nearest", extra_stuff=("LAV",))
    (found,) = NearestKinds(Letters(), "{category}", settings).decide([category])
    assert (found.kind, found.decided_by, found.nearest) == (kind, "nearest", nearest)
    assert found.similarity == pytest.approx(1.0, abs=0.2)


def test_nearest_is_by_the_slow_definition() -> None:
    letters = Letters()
    _, found = NearestKinds(letters, "a {category}", NEAREST).decide(
        [Category("pasture"), Category("x", ("meadow", "pasture"))]
    )
    both = sum(np.asarray(vector) for vector in letters.embed(["a meadow", "a pasture"]))
    names = sorted(COMPARED_NAMES)
    cosines = {
        name: float(np.asarray(vector) @ both / np.linalg.norm(both))
        for name, vector in zip(names, letters.embed([f"a {name}" for name in names]), strict=True)
        if vector is not None
    }
    assert found.nearest == max(cosines, key=lambda name: cosines[name])
    assert found.similarity == pytest.approx(max(cosines.values()), abs=1e-6)


def test_of_equally_near_names_the_first_by_alphabet_decides() -> None:
    settings = StuffFilterSettings(unknown_names="nearest", extra_stuff=("zyxz", "xyzz"))
    (found,) = NearestKinds(Letters(), "{category}", settings).decide([Category("zzxy")])
    assert found.nearest == "xyzz"


def test_a_decision_says_itself_in_a_phrase() -> None:
    assert str(KindDecision("sky", "stuff", "table")) == "'sky' is stuff (table)"
    near = KindDecision("meadow", "stuff", "nearest", "grass", 0.8765)
    assert str(near) == "'meadow' is stuff (nearest: 'grass', cosine 0.876)"


def test_known_names_are_embedded_once() -> None:
    letters = Letters()
    kinds = NearestKinds(letters, "a {category}", NEAREST)
    assert letters.seen == []
    for name in ("meadow", "beach", "meadow"):
        kinds.decide([Category(name)])
    assert letters.seen.count("a sky") == 1


def test_a_category_that_cannot_be_read_is_a_thing() -> None:
    name = "very " * 10 + "long"
    found = NearestKinds(Letters(), "{category}", NEAREST).decide([Category(name)])
    assert found == (KindDecision(name, "thing", "default"),)


def test_many_names_are_embedded_at_once() -> None:
    class Counting(Letters):
        calls = 0

        def embed(self, texts: Sequence[str]) -> list[Tensor | None]:
            self.calls += 1
            return super().embed(texts)

    letters = Counting()
    found = NearestKinds(letters, "a {category}", NEAREST).decide([Category(f"thing {n}") for n in range(200)])
    assert len(found) == 200 and letters.calls == 2  # theirs, and the known names
