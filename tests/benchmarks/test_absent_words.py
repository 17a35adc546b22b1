"""The tables and the run over seeds and variants, on an engine that paints what it is told to instead of segmenting."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from benchmarks import absent_words
from benchmarks.absent_words import ABLATION, Plan, main, measure, miou_table, run, words_table
from benchmarks.drawn_world import Bench, Scenes, true_labels, vary
from ovdiff import Segmentation, Vocabulary, load_preset
from ovdiff.tinyworld.world import NAMES

BOAT, SKY, FLOOR = (NAMES.index(name) for name in ("boat", "sky", "floor"))


class Painter:
    """Paints the truth, which it is given in place of an image; without a prefilter also the last word, over floor."""

    def __init__(self, *, prefilter: bool) -> None:
        self.prefilter, self.preset = prefilter, vary(load_preset("tinyworld"), prefilter={"enabled": prefilter})

    def label(self, encoded: np.ndarray, vocabulary: Vocabulary) -> Segmentation:
        labels = true_labels(encoded, vocabulary)
        if not self.prefilter:
            labels[encoded == FLOOR] = len(vocabulary.categories)
        return Segmentation(labels, np.ones(labels.shape, np.float32), np.ones(labels.shape, np.float32))


class PaintersBench:
    """Gives painters for engines."""

    def engine(self, changes: Mapping[str, Any]) -> Painter:
        return Painter(prefilter=changes.get("prefilter", {}).get("enabled", True))


def scene() -> np.ndarray:
    """Return a label map of a boat below the sky, on a floor that has no name."""
    label_map = np.full((20, 20), FLOOR, np.uint8)
    label_map[:8], label_map[8:12] = SKY, BOAT
    return label_map


BENCH = cast(Bench, PaintersBench())
IMAGES = (np.zeros((20, 20, 3), np.uint8),) * 2
SCENES = Scenes((50_000, 50_001), IMAGES, cast(Any, (scene(), scene())), (scene(), scene()))
NONE = Scenes((), (), (), ())


def test_a_perfect_engine_paints_what_is_there_and_nothing_else() -> None:
    figures = measure(BENCH, {}, Plan((19,), 3, SCENES, NONE))
    for kind in ("things", "stuff"):
        row = figures["words"]["19"][kind]
        assert (row["present painted"], row["absent painted"], row["iou of the present"]) == (1, 0, 1)
        assert (row["auroc"], row["area of the absent"]) == (None, None)
    assert figures["miou"]["crowded: all"] == 1
    assert figures["miou"]["crowded: things"] == 1


def test_an_absent_word_that_is_painted_costs_its_kind_and_the_miou() -> None:
    figures = measure(BENCH, {"prefilter": {"enabled": False}}, Plan((19,), 3, SCENES, NONE))
    stuff, things = figures["words"]["19"]["stuff"], figures["words"]["19"]["things"]
    assert stuff["absent painted"] == pytest.approx(1 / 6)  # of 7 kinds of stuff sky is there, and road is painted
    assert stuff["area of the absent"] == pytest.approx(0.4)
    assert stuff["auroc"] == 0.5
    assert things["absent painted"] == 0
    assert figures["miou"]["crowded: all"] == pytest.approx((0 + 1 + 1 + 0) / 4)  # background, boat, sky, road
    assert figures["miou"]["crowded: things"] == pytest.approx((0 + 1) / 2)


def test_the_prefilter_is_also_switched_off_in_the_variants() -> None:
    figures = measure(BENCH, {}, Plan((), 3, SCENES, SCENES))
    assert figures["miou"]["crowded, no prefilter: all"] == pytest.approx(0.5)
    assert figures["miou"]["usual: all"] == figures["miou"]["usual: things asked for alone"] == 1


def test_each_variant_is_a_row_and_each_seed_counts() -> None:
    told: list[str] = []
    variants = {"as it is": {}, "unfiltered": {"prefilter": {"enabled": False}}}
    rows = run(Plan((19,), 1, SCENES, NONE), variants, [42, 43], lambda _seed: BENCH, told.append)
    assert [line.split(":")[0] for line in told] == [
        "seed 42, as it is", "seed 42, unfiltered", "seed 43, as it is", "seed 43, unfiltered",
    ]  # fmt: skip
    lines = words_table(rows).splitlines()
    assert lines[2] == "| as it is | 19 | things | 1.000 ± .000 | .000 ± .000 | – | – | 1.000 ± .000 |"
    assert lines[5].startswith("| unfiltered | 19 | stuff | 1.000 ± .000 | .167 ± .000 | .400 ± .000 | .500 ± .000 |")
    assert miou_table(rows).splitlines()[3].startswith("| unfiltered | .500 ± .000 | .500 ± .000 |")


@pytest.mark.parametrize("changes", ABLATION.values(), ids=list(ABLATION))
def test_each_row_of_the_ablation_is_a_preset_of_its_own(changes: Mapping[str, Any]) -> None:
    preset = load_preset("tinyworld")
    assert (vary(preset, **changes) == preset) == (changes == {})


def test_the_command_measures_what_it_is_told_to(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def crowded(engine: object, split: str, numbers: range) -> Scenes:
        asked.update(split=split, numbers=numbers)
        return SCENES

    def bench(preset: Any, seed: int, folder: Path) -> Bench:
        asked.update(enabled=preset.stuff_filter.enabled, seed=seed, folder=folder)
        return BENCH

    monkeypatch.setattr(absent_words, "encode_crowded", crowded)
    monkeypatch.setattr(absent_words, "Bench", bench)
    out = tmp_path / "figures.json"
    text = f"x --split thresholds --first 7 --scenes 2 --usual 0 --sizes 2 --seeds 43 --bank {tmp_path} --out {out}"
    monkeypatch.setattr("sys.argv", [*text.split(), "--set", "stuff_filter.enabled=false"])
    printed: list[str] = []
    main(printed.append)
    assert asked == {"split": "thresholds", "numbers": range(7, 9), "enabled": False, "seed": 43, "folder": tmp_path}
    assert "| 2 | things |" in printed[-1]
    assert "| stuff_filter.enabled=false |" in printed[-1]
    assert '"first": 7' in out.read_text()


def test_a_run_that_goes_on_measures_only_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    measured: list[int] = []

    def bench(_preset: Any, seed: int, _folder: Path) -> Bench:
        measured.append(seed)
        return BENCH

    monkeypatch.setattr(absent_words, "encode_crowded", lambda *_: SCENES)
    monkeypatch.setattr(absent_words, "Bench", bench)
    out = tmp_path / "figures.json"
    for text in ("--seeds 42", "--seeds 42 43 --keep", "--seeds 42 43 --keep --vocabularies 1"):
        command = f"x --usual 0 --sizes 2 --bank {tmp_path} --out {out} {text}"
        monkeypatch.setattr("sys.argv", command.split())
        main(lambda _text: None)
    assert measured == [42, 43, 42, 43]  # other vocabularies are another protocol
