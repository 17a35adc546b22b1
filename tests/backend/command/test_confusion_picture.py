import numpy as np

from backend.command.confusion_picture import draw_confusion
from ovdiff.forecasting.forecast import CategoryForecast, Forecast


def _forecast(shares: list[list[float]], *names: str) -> Forecast:
    return Forecast(tuple(CategoryForecast(name, "thing", 8) for name in names), (), np.array(shares), ())


def _counts(forecast: Forecast) -> tuple[int, int]:
    """Return how many pixels of the picture are more green, and how many are more red, than anything else."""
    pixels = np.asarray(draw_confusion(forecast)).astype(int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    return int(((green > red + 20) & (green > blue + 20)).sum()), int(((red > green + 20) & (red > blue + 20)).sum())


def test_right_shares_are_green_and_wrong_ones_red() -> None:
    right = _counts(_forecast([[0, 1, 0], [0, 0, 1]], "boat", "water"))
    wrong = _counts(_forecast([[0, 0, 1], [0, 1, 0]], "boat", "water"))
    assert right[0] > 1000 and right[1] == 0 and wrong[1] > 1000 and wrong[0] == 0


def test_long_names_and_many_categories_have_room() -> None:
    few, many = (
        draw_confusion(_forecast(np.eye(n, n + 1, 1).tolist(), *(f"word {i}" for i in range(n)))) for n in (2, 40)
    )
    assert many.width > few.width and many.height > few.height
    longer = draw_confusion(_forecast([[0, 1, 0], [0, 0, 1]], "a category of many words", "water"))
    assert longer.height > draw_confusion(_forecast([[0, 1, 0], [0, 0, 1]], "boat", "water")).height
