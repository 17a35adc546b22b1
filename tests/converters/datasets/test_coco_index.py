"""A COCO file put in order: what is refused, and what each bad row becomes."""

import json
from pathlib import Path
from typing import Any

import pytest

from converters.datasets.coco_index import JOINED, coco_categories, coco_id, image_id, index_coco, read_coco
from converters.errors import CocoError
from converters.records import DatasetCategory


@pytest.mark.parametrize(
    ("value", "number"),
    [(1, 1), (1.0, 1), ("1", 1), ("007", 7), (1.5, None), ("1.0", None), (True, None), (None, None), ([1], None),
     (float("nan"), None), (1e300, None), ("", None), ("-1", None)],
)  # fmt: skip
def test_ids_are_whole_numbers_in_any_writing(value: Any, number: int | None) -> None:
    assert coco_id(value) == number


def test_the_id_of_an_image_may_be_any_text() -> None:
    assert [image_id(value) for value in ("a7", "7", 7.0, "", None, 0)] == ["a7", 7, 7, None, None, 0]


def test_two_categories_of_one_name_are_one() -> None:
    categories = [{"id": 3, "name": "cat", "isthing": 1}, {"id": 1, "name": "dog"}, {"id": 8, "name": "cat"}]
    index = index_coco({"categories": categories, "images": [], "annotations": []})
    assert index.categories == (DatasetCategory(3, "cat", "thing"), DatasetCategory(1, "dog"))
    assert index.names == {3: "cat", 1: "dog", 8: "cat"}
    assert index.notes == (JOINED,)


@pytest.mark.parametrize(
    ("categories", "message"),
    [
        ([], "got 0 categories: the list is empty"),
        ([{"id": 1}], "got 1 categories: category without a name that a label can have: id 1, name None"),
        ([{"id": -1, "name": "a"}], "category without a whole number as its id: id -1, name 'a'"),
    ],
)
def test_a_file_without_a_category_is_refused(categories: list[Any], message: str) -> None:
    with pytest.raises(CocoError, match=f"expected a category with an id and a name, .*{message}"):
        coco_categories({"categories": categories})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, which cannot be read"),
        ("[]", "expected a list of objects under 'images'"),
        (json.dumps({"images": [], "categories": [1], "annotations": []}), "expected a list of objects under 'cat"),
        ("[" * 100_000, "expected JSON, which cannot be read"),
    ],
)
def test_a_file_that_is_no_coco_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "coco.json").write_text(text)
    with pytest.raises(CocoError, match=rf"coco\.json: {message}"):
        read_coco(tmp_path / "coco.json")
