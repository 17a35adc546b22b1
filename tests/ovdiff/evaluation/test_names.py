"""The words by which a dataset's categories are asked for."""

from dataclasses import replace
from pathlib import Path

import pytest

from converters.files.class_lists import ListedClass
from ovdiff.errors import DatasetError
from ovdiff.evaluation.dataset import Dataset
from ovdiff.evaluation.datasets.drawn import USUAL
from ovdiff.evaluation.names import ovdiff_categories, with_names
from ovdiff.vocabulary import Category, Vocabulary
from tests.ovdiff.evaluation.made import write_text

CLASSES = (
    ListedClass(1, "aeroplane", "thing"),
    ListedClass(2, "cat", "thing", ("feline",)),
    ListedClass(3, "sky", "stuff"),
)


@pytest.fixture
def dataset() -> Dataset:
    """Return a dataset of three categories."""
    return replace(USUAL.open(Path()), name="x", vocabulary=Vocabulary(ovdiff_categories(CLASSES, with_kinds=True)))


def _phrases(dataset: Dataset) -> list[tuple[str, ...]]:
    return [category.phrases for category in dataset.vocabulary.categories]


def test_names_that_the_paper_renamed_keep_their_name_and_have_a_prompt() -> None:
    assert ovdiff_categories(CLASSES) == (
        Category("aeroplane", ("airplane",)),
        Category("cat", ("feline",)),
        Category("sky"),
    )
    assert [each.kind for each in ovdiff_categories(CLASSES, with_kinds=True)] == ["thing", "thing", "stuff"]


def test_the_papers_words_are_those_of_the_dataset(dataset: Dataset) -> None:
    assert with_names(dataset, "paper") is dataset


def test_plain_names_have_no_prompts_and_keep_their_kind(dataset: Dataset) -> None:
    plain = with_names(dataset, "plain")
    assert _phrases(plain) == [("aeroplane",), ("cat",), ("sky",)]
    assert plain.vocabulary.categories[2].kind == "stuff"


@pytest.mark.parametrize(
    "text",
    [
        "aeroplane,jet\ncat , kitty,cat\n\nsky\n",
        "0:background,bush\n1:aeroplane,jet\n2:invalid_class_id\n3:cat,kitty,cat\n4: sky\n",
    ],
)
def test_a_list_of_ones_own_names_each_category_by_several_words(dataset: Dataset, tmp_path: Path, text: str) -> None:
    write_text(tmp_path / "list.txt", text)
    named = with_names(dataset, str(tmp_path / "list.txt"))
    assert _phrases(named) == [("aeroplane", "jet"), ("cat", "kitty"), ("sky",)]
    assert named.vocabulary.names == ("aeroplane", "cat", "sky")


def test_a_list_of_another_length_is_refused(dataset: Dataset, tmp_path: Path) -> None:
    write_text(tmp_path / "list.txt", "aeroplane\ncat\n")
    with pytest.raises(DatasetError, match=r"x: the list of names '.*list.txt' has 2 lines, and the dataset has 3"):
        with_names(dataset, str(tmp_path / "list.txt"))


def test_a_list_that_cannot_be_read_is_refused(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"The list of names 'mmseg' cannot be read: .*Write paper, plain, or the"):
        with_names(dataset, "mmseg")
