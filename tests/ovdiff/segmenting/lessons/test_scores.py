from dataclasses import replace

import numpy as np
import torch

from ovdiff.segmenting.encoding import EncodedImage, WindowFeatures
from ovdiff.segmenting.lessons.discriminant import Discriminant
from ovdiff.segmenting.lessons.model import LessonModel
from ovdiff.segmenting.lessons.scores import with_lessons
from ovdiff.segmenting.matching import ScoreMaps
from ovdiff.segmenting.windows import Window
from tests.ovdiff.segmenting.lessons.conftest import GROUPS


def _model(**changes: object) -> LessonModel:
    directions = torch.tensor([[20.0, 0, 0, 0], [0, 20.0, 0, 0]])  # axis 0 is background, axis 1 things
    discriminant = Discriminant(directions, torch.zeros(4), torch.tensor([True, True, False, False]))
    model = LessonModel(GROUPS, {"made up": discriminant}, 0.1, {}, 3)
    return replace(model, **changes)


def _encoded() -> EncodedImage:
    """Two cells side by side: the left one is background, the right one a thing."""
    features = torch.tensor([[[1.0, 0.0]], [[0.0, 1.0]]])[None]
    working = np.zeros((2, 4, 3), np.uint8)
    return EncodedImage((2, 4), working, {"made up": (WindowFeatures((Window(0, 0, 2, 4, 1),), features),)}, None)


def test_taught_groups_compete_and_the_others_keep_their_chances() -> None:
    scores = torch.tensor([0.5, 0.4, 0.45, 0.3])[:, None, None].repeat(1, 2, 4)  # background, mug, sky, car
    maps = ScoreMaps(scores, (0, 1, 2, 3))
    found = with_lessons(_encoded(), maps, _model(), torch.device("cpu"))
    assert found.labels == maps.labels
    assert found.scores.argmax(dim=0)[0].tolist() == [0, 0, 1, 1]  # the thing with the better votes wins on the right
    torch.testing.assert_close(found.scores[2], scores[2])  # nobody taught sky
    torch.testing.assert_close(found.scores[[0, 1, 3]].amax(dim=0), torch.full((2, 4), 0.5))
    torch.testing.assert_close(found.scores[1] - found.scores[3], torch.full((2, 4), 0.1))


def test_without_two_taught_groups_or_without_a_discriminant_nothing_changes() -> None:
    maps = ScoreMaps(torch.rand(2, 2, 4), (1, 3))  # two things
    assert with_lessons(_encoded(), maps, _model(), torch.device("cpu")) is maps
    assert with_lessons(_encoded(), maps, _model(discriminants={}), torch.device("cpu")) is maps
