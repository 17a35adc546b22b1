"""What a labelled dataset says of itself."""

from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.vocabulary import Vocabulary


def test_the_vocabulary_of_a_kind_has_its_categories_in_their_order() -> None:
    assert USUAL.vocabulary == Vocabulary(USUAL.categories)
