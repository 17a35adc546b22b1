from pathlib import Path

import numpy as np
import pytest

from benchmarks import forecasts
from ovdiff.forecasting.forecast import CategoryForecast, Forecast, PairForecast


def _matrix(*rows: list[int]) -> "forecasts.Matrix":
    return np.array(rows, dtype=np.int64)


SCENE = _matrix([0, 0, 0, 0], [0, 80, 20, 0], [0, 10, 90, 0], [10, 0, 0, 90])


def test_the_real_confusion_of_a_pair_is_the_mean_of_both_ways() -> None:
    assert forecasts.pair_confusions(SCENE).round(6).tolist() == [0.15, 0.0, 0.0]


def test_a_forecast_of_the_right_order_has_a_correlation_of_one() -> None:
    words = ("a", "b", "c")
    categories = tuple(
        CategoryForecast(name, "thing", 8, 0.5, iou) for name, iou in zip(words, (0.6, 0.7, 0.8), strict=True)
    )
    pairs = (PairForecast("a", "b", risk=1.0), PairForecast("a", "c", risk=0.2), PairForecast("b", "c", risk=0.2))
    found = forecasts.correlations(Forecast(categories, pairs, np.zeros((3, 4)), ()), [SCENE] * 4)
    assert found["confusion"] == pytest.approx(1) and found["iou"] == pytest.approx(1)
    assert found["confusion, of half the scenes"] == pytest.approx(1)


def test_kept_matrices_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def measure(engines: dict[int, object], split: str, scenes: int) -> dict[int, list[forecasts.Matrix]]:
        calls.append(scenes)
        return {seed: [SCENE, SCENE] for seed in engines}

    monkeypatch.setattr(forecasts, "real_confusions", measure)
    engines: dict[int, object] = {42: object()}
    for _ in range(2):
        (matrices,) = forecasts._real(engines, "test", 1, tmp_path / "kept.npz").values()  # type: ignore[arg-type]
        assert np.array_equal(matrices, [SCENE, SCENE])
    assert calls == [1]


def test_the_table_counts_faults_and_false_alarms() -> None:
    keys = ("confusion", "confusion, of half the scenes", "iou", "iou, of half the scenes")
    one = {
        "correlations": dict.fromkeys(keys, 0.5),
        "planted": {"a": ["same words"], "b": []},
        "false alarms": {"all 19": ["bird"], "boat, fish": []},
    }
    text = forecasts.table({"protocol": {"scenes": 40, "split": "test"}, "seeds": {"42": one, "43": one}})
    assert "| confusion (171 pairs) | .500 ± .000 | .500 ± .000 |" in text
    assert "2 of 4 planted faults were found. 4 vocabularies without a fault gave 2 findings." in text
