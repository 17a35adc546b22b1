"""The benchmark of an evaluation's cost, with a light engine in the method's place."""

import json
from pathlib import Path

import pytest

from benchmarks import evaluation_cost
from tests.fakes.engine import FakeEngine


class _Bench:
    def __init__(self, _preset: object, _seed: int, folder: Path) -> None:
        self._made = FakeEngine(folder)
        for category in evaluation_cost.CATEGORIES:
            self._made.build(category)

    def engine(self, _changes: object = None) -> FakeEngine:
        return self._made


def test_speeds_and_memory_are_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation_cost, "Bench", _Bench)
    said: list[str] = []
    out = tmp_path / "out.json"
    evaluation_cost.main(
        ["--images", "3", "--turns", "2", "--bank", str(tmp_path / "bank"), "--out", str(out)], said.append
    )
    written = json.loads(out.read_text())
    assert set(written["speed"]) == {"labels", "labels, segments and objects"}
    for row in written["speed"].values():
        assert row["speed"] == pytest.approx(row["segmenting"] / row["evaluating"], abs=1e-3)
        assert row["speed"] > 0
    assert len(written["memory_mib"]["at_each_tenth"]) == 3
    assert all(mib > 30 for mib in written["memory_mib"]["at_each_tenth"])
    assert any(line.startswith("| labels |") for line in "\n".join(said).splitlines())


def test_labels_alone_have_neither_segments_nor_objects() -> None:
    whole, labels = (evaluation_cost.dataset(1, objects=objects).read("test-0").truth for objects in (True, False))
    assert (labels.segments, labels.objects) == (None, None)
    assert whole.segments is not None
    assert (labels.label_map == whole.label_map).all()
    assert labels.label_map.shape == (512, 512)
