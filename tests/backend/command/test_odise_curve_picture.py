import numpy as np
from PIL import Image

from backend.command.odise_curve_picture import draw_curve


def colours(picture: Image.Image) -> set[tuple[int, ...]]:
    return {tuple(colour) for colour in np.unique(np.asarray(picture).reshape(-1, 3), axis=0).tolist()}


LOSS, PQ, MIOU = (60, 90, 170), (38, 120, 60), (200, 110, 30)


def test_the_loss_is_above_and_the_figures_are_below() -> None:
    log = [{"step": step, "loss": 20.0 / step} for step in range(1, 101)]
    log += [{"step": step, "pq": step / 200, "miou": step / 100} for step in (50, 100)]
    picture = draw_curve(log, 100)
    pixels = np.asarray(picture)
    rows = {colour: np.nonzero((pixels == colour).all(axis=2).any(axis=1))[0] for colour in (LOSS, PQ, MIOU)}
    assert rows[LOSS].max() < rows[PQ].min() and rows[LOSS].max() < rows[MIOU].min()
    last = pixels[:, 690]  # a better figure is higher
    assert (last == MIOU).all(axis=1).argmax() < (last == PQ).all(axis=1).argmax()


def test_what_is_not_known_yet_is_said_and_draws_no_line() -> None:
    few = draw_curve([{"step": 1, "loss": 3.0}], 1)
    assert few.size == draw_curve([], 5).size and colours(few) != colours(draw_curve([], 5))
    draw_curve([{"step": 1, "loss": 2.0}, {"step": 1, "pq": float("nan"), "miou": 0.1}], 1)
