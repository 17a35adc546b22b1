import torch
from torch import Tensor

from ovdiff.models.text_batches import encode_texts


def _sums(tokens: Tensor) -> Tensor:
    return torch.stack([tokens.sum(dim=1), tokens.amax(dim=1)], dim=1)


def test_rows_are_unit_vectors_or_keep_their_lengths_and_long_ones_give_none() -> None:
    rows = [[3, 4], [1] * 20, [0, 5, 6]]
    found = encode_texts(rows, 16, 0, _sums, unit=False)
    assert found[1] is None and found[0] is not None and found[2] is not None
    assert found[0].tolist() == [7.0, 4.0] and found[2].tolist() == [11.0, 6.0]
    unit = encode_texts(rows, 16, 0, _sums)[0]
    assert unit is not None
    torch.testing.assert_close(unit, torch.tensor([7.0, 4.0]) / 65**0.5)


def test_every_pass_has_one_of_few_shapes() -> None:
    shapes = []

    def encode(tokens: Tensor) -> Tensor:
        shapes.append(tuple(tokens.shape))
        return _sums(tokens)

    encode_texts([[1] * length for length in (1, 8, 9, 16, 17)], 17, 0, encode)
    assert sorted(shapes) == [(16, 8), (16, 16), (16, 17)]
