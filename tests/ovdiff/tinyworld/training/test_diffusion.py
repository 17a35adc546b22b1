import numpy as np
import torch

from ovdiff.tinyworld.training import diffusion, tokenizer
from ovdiff.tinyworld.world import NAMES


def test_attention_is_supervised_at_the_noun_and_at_its_colour() -> None:
    targets = diffusion.attention_targets("a photo of a red ball with sky", [("ball", "red")])
    words = tokenizer.build().tokenize("a photo of a red ball with sky")
    named = [(words[position - 1].removesuffix("</w>"), NAMES[name]) for position, name in targets]
    assert named == [("ball", "ball"), ("red", "ball"), ("sky", "sky")]


def test_colours_of_two_things_of_one_name_are_not_supervised() -> None:
    targets = diffusion.attention_targets("a red ball and a blue ball", [("ball", "red"), ("ball", "blue")])
    assert [position for position, _ in targets] == [3, 7]


def test_attention_loss_prefers_the_mask() -> None:
    label_maps = np.full((1, 64, 64), NAMES.index("sky"), dtype=np.uint8)
    label_maps[:, :32] = NAMES.index("ball")
    inside, outside = torch.full((1, 64, 4), 1e-3), torch.full((1, 64, 4), 1e-3)
    inside[0, :32, 2] = 1
    outside[0, 32:, 2] = 1
    targets = [[(2, NAMES.index("ball"))]]
    good = diffusion.attention_loss([inside], targets, label_maps)
    assert good < 0.1 < diffusion.attention_loss([outside], targets, label_maps)
