"""What rows share: encodings by groups, and support images by their numbers. No model runs."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ovdiff.bank import Bank
from ovdiff.bank.recipe import Recipes
from ovdiff.bank.support_store import DrawnBatch, DrawnImage, SupportStore
from ovdiff.engines import load_any_preset, make_engine
from ovdiff.engines.building import HasAnchors
from ovdiff.evaluation.rows import changed, variants
from ovdiff.evaluation.shared_work import (
    Engines,
    groups_of,
    image_family,
    jobs_of,
    missing_images,
    own_part,
    share_support,
    words_of,
)
from ovdiff.presets import Preset
from ovdiff.vocabulary import Category, Vocabulary

BOAT = Category("boat")


@pytest.fixture
def engines(tmp_path: Path) -> Engines:
    bank = Bank(tmp_path / "bank")
    return Engines(make_engine(load_any_preset("tinyworld"), bank, "cpu"), bank, "cpu")


def preset(images: int, seed: int = 42) -> Preset:
    changes = {"generation": {"images": images, "seed": seed}}
    found = changed(load_any_preset("tinyworld"), changes, "tinyworld")
    assert isinstance(found, Preset)
    return found


def test_a_row_has_a_folder_for_each_seed_and_one_that_equals_another_has_none(tmp_path: Path) -> None:
    found, _ = variants(load_any_preset("tinyworld"), ["k-4", "k-8"])
    jobs = jobs_of(found, (42, 43), tmp_path)
    assert [job.name for job in jobs] == ["full, seed 42", "full, seed 43", "k-4, seed 42", "k-4, seed 43"]
    assert jobs[3].folder == tmp_path / "rows" / "k-4" / "seed-43"
    assert isinstance(jobs[3].preset, Preset)
    assert jobs[3].preset.generation.seed == 43
    plain = changed(load_any_preset("naclip_tinyworld"), {"refine": {"pamr": False}}, "plain")
    found, _ = variants(plain, ["pamr"])
    assert [(job.name, job.folder.name) for job in jobs_of(found, (42, 43), tmp_path)] == [
        ("full", "full"), ("pamr", "pamr")
    ]  # fmt: skip


def test_rows_that_encode_alike_are_a_group_whatever_extractors_vote(engines: Engines, tmp_path: Path) -> None:
    wanted = ["sd", "clip", "k-4", "kinds-class", "no-windows", "no-part-check", "windows-fine"]
    found, _ = variants(load_any_preset("tinyworld"), wanted)
    groups = groups_of(jobs_of(found, (42, 43), tmp_path), engines)
    rows = [sorted({job.row.name for job in group.jobs}) for group in groups]
    assert rows == [["clip", "full", "k-4", "kinds-class", "no-part-check", "sd"], ["no-windows"], ["windows-fine"]]
    encoder = groups[0].encoder
    assert isinstance(encoder, Preset)
    assert encoder.active_extractors() == ("stable_diffusion", "clip")  # no row of the group reads DINO
    assert encoder.prefilter.enabled  # because the part check looks at images


def test_a_row_is_given_what_it_would_have_encoded_alone() -> None:
    @dataclass(frozen=True)
    class Encoding:
        features: dict[str, Any]
        embedding: Any

    whole = Encoding({"stable_diffusion": 1, "clip": 2, "dino": 3}, "embedding")
    found, _ = variants(load_any_preset("tinyworld"), ["clip", "paper"])
    by_name = {each.row.name: each.preset for each in found}
    assert own_part(whole, by_name["clip"]) == Encoding({"clip": 2}, "embedding")
    assert own_part(whole, by_name["paper"]) == Encoding({"stable_diffusion": 1}, "embedding")
    plain = changed(by_name["paper"], {"prefilter": {"enabled": False}}, "plain")
    assert own_part(whole, plain) == Encoding({"stable_diffusion": 1}, None)
    assert own_part(whole, load_any_preset("odise")) is whole


def test_the_words_of_a_row_are_the_asked_ones_and_the_anchors(engines: Engines) -> None:
    words = words_of(engines.first, Vocabulary([BOAT]))
    assert isinstance(engines.first, HasAnchors)
    assert words[0] == BOAT
    assert len(words) == len({BOAT, *engines.first.anchors()})


def drawn(numbers: range, prompt: str = "a good photo of a boat") -> DrawnBatch:
    def image(number: int) -> DrawnImage:
        return DrawnImage(number, 1000 + number, 0, np.full((4, 4, 3), number, np.uint8), np.zeros((2, 2), np.float32))

    return DrawnBatch(prompt, tuple(image(number) for number in numbers))


def test_a_smaller_set_takes_the_first_images_of_a_larger_one(tmp_path: Path) -> None:
    bank, large, small = Bank(tmp_path), preset(8), preset(6)
    store = SupportStore(tmp_path / "support")
    shelf = store.shelf(Recipes(large).support(BOAT).key, "")
    shelf.keep(drawn(range(4)))
    assert share_support(small, [large], BOAT, bank) == 0  # not all that it needs are there
    shelf.keep(drawn(range(4, 8)))
    assert missing_images(small, BOAT, bank) == 6
    assert share_support(small, [preset(8, seed=43), small, large], BOAT, bank) == 6
    assert missing_images(small, BOAT, bank) == 0
    batches = store.shelf(Recipes(small).support(BOAT).key, "").batches()
    assert [item.number for batch in batches for item in batch.images] == [0, 1, 2, 3, 4, 5]
    assert batches[1].images[1].seed == 1005
    assert share_support(small, [large], BOAT, bank) == 0  # they are there already


def test_images_of_another_seed_or_of_other_settings_are_not_taken(tmp_path: Path) -> None:
    bank, small = Bank(tmp_path), preset(2)
    others = [preset(8, seed=43), replace(preset(8), generation=replace(preset(8).generation, steps=3)), preset(1)]
    for other in others:
        shelf = SupportStore(tmp_path / "support").shelf(Recipes(other).support(BOAT).key, "")
        shelf.keep(drawn(range(other.generation.images)))
    assert share_support(small, others, BOAT, bank) == 0
    assert len({image_family(other) for other in (*others, small)}) == 3
    assert image_family(load_any_preset("odise")) == ""
    assert share_support(load_any_preset("odise"), others, BOAT, bank) == 0
    assert missing_images(load_any_preset("odise"), BOAT, bank) == 0
