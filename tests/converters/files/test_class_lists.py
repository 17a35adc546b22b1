"""The classes of well-known datasets."""

import pytest

from converters.datasets.pixel_labels import NAMED_LISTS, read_label_list
from converters.files.class_lists import class_list_path, read_class_list

EVERY = sorted(path.stem for path in class_list_path("voc").parent.glob("*.tsv"))


@pytest.mark.parametrize("name", EVERY)
def test_values_and_names_come_once_and_kinds_are_known(name: str) -> None:
    rows = read_class_list(name)
    for column in ([row.value for row in rows], [row.name for row in rows]):
        assert len(set(column)) == len(column)
    assert {row.kind for row in rows} <= {"thing", "stuff", "background", "void", ""}
    assert all(row.name == row.name.strip() for row in rows)


@pytest.mark.parametrize("name", NAMED_LISTS)
def test_the_converters_read_the_same_tables(name: str) -> None:
    read = [(label.value, label.name) for label in read_label_list(name).labels]
    assert read == [(row.value, row.name) for row in read_class_list(name)]
