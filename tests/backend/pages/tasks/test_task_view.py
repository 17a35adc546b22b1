"""What a task's page shows, without HTTP."""

import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from backend.pages.served_pictures import ServedPictures
from backend.pages.tasks.layers import TINT
from backend.pages.tasks.task_view import sizes_of, task_view
from backend.serving.service import Service
from backend.settings import OutputSettings
from tests.fakes.engine import SCORE


def test_regions_are_listed_with_colour_score_and_share_and_hidden_ones_say_why(service: Service) -> None:
    pictures = ServedPictures()
    with service.looking.opened(1, 4) as sight:
        view = task_view(sight, OutputSettings(), pictures)
    red, blue = view.regions
    assert (red.label, red.colour, red.score, red.hidden) == ("red", "#ff8800", SCORE, "")
    assert red.share == pytest.approx(0.125)
    assert (blue.label, blue.hidden) == ("blue", "its score is below threshold=0.9")
    assert view.absent == ("<i>green",)
    assert view.image_wh == view.picture_wh == (64, 48)
    masks = np.asarray(Image.open(io.BytesIO(pictures.get(view.masks)[1])))
    assert masks[24, 16].tolist() == [255, 136, 0, TINT]
    assert masks[24, 48, 3] == 0, "a region that the prediction leaves out is not painted"


def test_what_a_labels_limits_hide_is_told_and_not_painted(service: Service) -> None:
    pictures = ServedPictures()
    with service.looking.opened(1, 4) as sight:
        unsure = {"red": 1.0}
        outputs = tuple(replace(each, min_margin=unsure.get(each.label, 0.0)) for each in sight.outputs)
        view = task_view(replace(sight, outputs=outputs), OutputSettings(), pictures)
    assert view.notes == ("Not shown, of red: 384 pixels with a margin below min_margin=1.",)
    assert "red" in view.absent
    assert np.asarray(Image.open(io.BytesIO(pictures.get(view.masks)[1])))[24, 16, 3] == 0


def test_a_least_score_of_the_settings_hides_too(service: Service) -> None:
    with service.looking.opened(1, 4) as sight:
        view = task_view(sight, OutputSettings(min_score=0.8), ServedPictures())
    assert {region.hidden for region in view.regions} == {
        "its score is below OVDIFF_MIN_SCORE=0.8",
        "its score is below threshold=0.9",
    }


@pytest.mark.parametrize(("width", "height"), [(4000, 3000), (10, 5000), (64, 48), (5000, 10)])
def test_an_image_of_any_form_fits_the_screen(width: int, height: int) -> None:
    wide, narrow, tiny = sizes_of(width, height)
    assert wide.width <= 600
    assert wide.height <= 620
    assert narrow.width <= 320
    assert tiny.width <= 240
    assert min(size.width for size in (wide, narrow, tiny)) >= 1
    if min(width, height) > 40:
        assert wide.width / wide.height == pytest.approx(width / height, rel=0.02)
