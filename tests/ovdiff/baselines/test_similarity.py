"""Similarities against loops over patches, words and elements."""

import math

import pytest
import torch
from torch import Tensor

from ovdiff.baselines.similarity import cosines, without_redundance


def _unit(vector: Tensor) -> list[float]:
    length = math.sqrt(sum(float(value) ** 2 for value in vector))
    return [float(value) / length for value in vector]


def _drawn(words: int) -> tuple[Tensor, Tensor, Tensor]:
    """Patches (2, 5, 2, 3), whole windows (2, 5) and unit vectors (words, 5)."""
    torch.manual_seed(words)
    return torch.randn(2, 5, 2, 3), torch.randn(2, 5), torch.nn.functional.normalize(torch.randn(words, 5), dim=1)


def _dot(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_cosines_are_those_of_each_patch_with_each_word() -> None:
    patches, _, words = _drawn(4)
    found = cosines(patches, words)
    assert found.shape == (2, 4, 2, 3)
    for image in range(2):
        for row in range(2):
            for column in range(3):
                patch = _unit(patches[image, :, row, column])
                for word in range(4):
                    assert float(found[image, word, row, column]) == pytest.approx(
                        _dot(patch, _unit(words[word])), abs=1e-5
                    )


def test_redundance_is_taken_away_element_by_element() -> None:
    """The released code's steps: weighted products of all elements, less their mean over the words, added up."""
    patches, whole, words = _drawn(4)
    found = without_redundance(patches, whole, words, torch.zeros(5), scale=2.0)
    for image in range(2):
        powers = [math.exp(2.0 * _dot(_unit(whole[image]), _unit(word))) for word in words]
        weights = [power / sum(powers) * len(powers) for power in powers]
        for row in range(2):
            for column in range(3):
                patch = _unit(patches[image, :, row, column])
                products = [
                    [weight * a * b for a, b in zip(patch, _unit(word), strict=True)]
                    for weight, word in zip(weights, words, strict=True)
                ]
                common = [sum(product[element] for product in products) / len(products) for element in range(5)]
                for word, product in enumerate(products):
                    expected = sum(a - b for a, b in zip(product, common, strict=True))
                    assert float(found[image, word, row, column]) == pytest.approx(expected, abs=1e-5)


def test_a_word_alone_is_compared_with_the_empty_text() -> None:
    patches, whole, words = _drawn(1)
    empty = torch.nn.functional.normalize(torch.randn(5), dim=0)
    found = without_redundance(patches, whole, words, empty, scale=2.0)
    patch = _unit(patches[1, :, 0, 2])
    expected = _dot(patch, [a - b for a, b in zip(words[0].tolist(), empty.tolist(), strict=True)])
    assert float(found[1, 0, 0, 2]) == pytest.approx(expected, abs=1e-5)
