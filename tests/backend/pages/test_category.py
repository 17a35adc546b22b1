from pathlib import Path
from types import SimpleNamespace
from typing import Any
from xml.etree import ElementTree

import numpy as np

from backend.pages.category import (
    SupportView,
    background_rows,
    changes,
    curation_of,
    prompts_attribute,
    support_view,
)
from backend.pages.pictures import Kept
from ovdiff.bank.background import BackgroundPrototype
from ovdiff.curation.curation import UNCURATED, Ban, Curation, Exemplar, Rejection
from ovdiff.engines.curating import Curates
from ovdiff.vocabulary import Category
from tests.fakes.curating_engine import CuratingEngine
from tests.fakes.engine import FakeEngine, FakePreset

RED = Category("red")


def bare_engine() -> Any:
    """An engine that can no more than every engine must, as the second one."""
    return SimpleNamespace(preset=FakePreset("bare", "bare"))


def test_support_images_are_told_with_what_people_did_to_them(tmp_path: Path) -> None:
    engine = CuratingEngine(tmp_path)
    assert isinstance(engine, Curates)
    engine.build(RED)
    assert [(card.number, card.state) for card in support_view(engine, RED).cards] == [(0, "drawn"), (1, "drawn")]
    assert support_view(engine, RED).judgement == "CLIP agrees with 2 of 2 support images"
    engine.curator.reject(RED, [0], "blurred")
    image = np.zeros((8, 8, 3), dtype=np.uint8)
    engine.curator.add_exemplar(RED, image, image.any(axis=2), "mine.jpg")
    view = support_view(engine, RED)
    assert [(card.number, card.state, card.note or card.text) for card in view.cards] == [
        (0, "left out", "blurred"),
        (1, "drawn", "a red"),
        (2, "exemplar", "mine.jpg"),
    ]
    assert (view.refused, view.trouble, view.judgement) == (1, "", ""), "the changed label is not judged yet"
    assert not view.has_several_prompts


def test_images_of_several_prompts_say_from_which_they_are_and_what_shows_nothing_is_named(tmp_path: Path) -> None:
    engine = FakeEngine(tmp_path)
    two = Category("red", ("red", "black"))
    engine.build(two)
    assert support_view(engine, two).has_several_prompts
    black = Category("black", ("grey",))
    engine.build(black)
    assert {card.note for card in support_view(engine, black).cards} <= {"", "nothing of it was found here"}


def test_without_support_images_it_is_said_why(tmp_path: Path) -> None:
    assert support_view(FakeEngine(tmp_path), RED).trouble == "The support images of 'red' are not kept."
    assert "The engine bare draws no support images" in support_view(bare_engine(), RED).trouble
    assert curation_of(FakeEngine(tmp_path), RED) is None
    assert changes(None) == changes(UNCURATED) == ()


def test_each_change_names_the_form_that_undoes_it() -> None:
    curation = Curation(
        draw=False,
        rejected=(Rejection(3, "blurred", "2026-01-02"),),
        exemplars=(Exemplar("ab" * 32, "mine.jpg", "the page", "2026-01-03"),),
        bans=(Ban("cd" * 32, "clip", "part", 0.25, "", "jetty", "2026-01-04"),),
    )
    assert [(change.text, change.undo, change.field, change.value) for change in changes(curation)] == [
        ("No images are drawn: it is made of its exemplars alone.", "draw", "", ""),
        ("Image 3 was left out on 2026-01-02: blurred.", "restore", "number", "3"),
        ("The image mine.jpg was added on 2026-01-03, from the page.", "remove-exemplar", "value", "ab" * 6),
        (
            "Background (clip, 25% of the background) was ruled out on 2026-01-04, and made part of jetty.",
            "demote",
            "places",
            "cd" * 6,
        ),
    ]


def test_parts_of_a_background_are_told_the_largest_first() -> None:
    some, all_of_it = np.zeros((4, 4), np.bool_), np.ones((4, 4), np.bool_)
    some[0] = True
    rows = background_rows(
        [
            BackgroundPrototype(0, "clip", "class", 1.0, {0: all_of_it}),
            BackgroundPrototype(1, "clip", "part", 0.2, {0: some}),
            BackgroundPrototype(2, "dino", "part", 0.8, {n: all_of_it if n == 9 else some for n in range(10)}),
        ]
    )
    assert [(row.number, row.text) for row in rows] == [
        (2, "dino, 80% of the background"),
        (1, "clip, 20% of the background"),
    ]
    assert rows[0].images == (9, 0, 1, 2, 3)


def test_prompts_are_an_attribute_of_xml_that_leaves_the_others_of_a_label_alone() -> None:
    found = prompts_attribute(('the "sea"', "R&D", "a<b"))
    assert found == 'prompts="the &quot;sea&quot;; R&amp;D; a&lt;b"'
    label = ElementTree.fromstring(f'<Label value="sea" threshold="0.4" hotkey="s" {found}/>')
    assert label.get("prompts") == 'the "sea"; R&D; a<b'


def test_a_support_set_is_read_once_until_people_change_something(tmp_path: Path) -> None:
    engine, kept, read = CuratingEngine(tmp_path), Kept[SupportView](), []
    engine.build(RED)
    whole = engine.support_set
    engine.support_set = lambda category: read.append(category) or whole(category)  # type: ignore[method-assign, func-returns-value]
    assert support_view(engine, RED, kept) == support_view(engine, RED, kept)
    assert len(read) == 1
    engine.curator.reject(RED, [0], "blurred")
    assert support_view(engine, RED, kept).cards[0].note == "blurred"
    engine.curator.reject(RED, [0], "too small")
    assert support_view(engine, RED, kept).cards[0].note == "too small", "the key is the same, the reason is another"
    engine.curator.restore(RED, [0])
    assert [card.state for card in support_view(engine, RED, kept).cards] == ["drawn", "drawn"]
    assert len(read) == 3


def test_why_there_is_nothing_to_see_is_not_kept(tmp_path: Path) -> None:
    engine, kept = FakeEngine(tmp_path), Kept[SupportView]()
    assert support_view(engine, RED, kept).trouble
    engine.build(RED)
    assert len(support_view(engine, RED, kept).cards) == 2
