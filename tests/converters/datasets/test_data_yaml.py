"""data.yaml: written so that a reader of YAML reads it, and read in the ways in which such files are written."""

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from converters.datasets.data_yaml import data_yaml_text, read_names
from converters.errors import YOLOError

names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12).filter(
    lambda name: name.strip() == name and name[0] not in "{}[]&*!|>%@"
)


@given(st.lists(names, min_size=1, max_size=5, unique=True))
def test_names_survive_and_are_what_a_reader_of_yaml_reads(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[str]
) -> None:
    path = tmp_path_factory.mktemp("yolo") / "data.yaml"
    path.write_text(data_yaml_text(drawn), encoding="utf-8", newline="\n")
    assert read_names(path) == dict(enumerate(drawn))
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert read == {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(drawn))}


WAYS = [
    "names:\n  0: cat\n  1: dog\n",
    "nc: 2\nnames: ['cat', \"dog\"]\n",
    "names: [cat, dog] # two of them\n",
    "names: [ cat ,dog, ]\n",
    "names:\n- cat\n- dog\ntrain: images\n",
    "names:  # two\r\n  - cat # one\r\n\r\n  - 'dog'\r\npath: x\r\n",
    '# names: [no]\nnames:\n\n  1: dog\n  0: "cat"\nval: images\n',
]


@pytest.mark.parametrize("text", WAYS)
def test_every_way_of_writing_names_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text, newline="")
    assert read_names(tmp_path / "data.yaml") == {0: "cat", 1: "dog"}
    assert yaml.safe_load(text)["names"] in ({0: "cat", 1: "dog"}, ["cat", "dog"])


QUOTED = [
    ("- men's shoes # all", "men's shoes"),
    ("- 'men''s # shoes'", "men's # shoes"),
    ('- "a \\" # b \\\\" # c', 'a " # b \\'),
    ("- c#", "c#"),
    ("- a: b", "a: b"),
]


@pytest.mark.parametrize(("line", "name"), QUOTED)
def test_quotes_and_comments_are_told_apart(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "data.yaml").write_text(f"names:\n{line}\n")
    assert read_names(tmp_path / "data.yaml") == {0: name}


BROKEN = [
    (b"", "expected the categories under 'names:', got none"),
    (b"train: x\n", "expected the categories under 'names:', got none"),
    (b"names:\n", "expected names with a number of their own"),
    (b"names: cat\n", "expected names as .cat, dog. or one a line, got 'cat'"),
    (b"names: [cat, [dog]]\n", "expected names as .cat, dog. or one a line"),
    (b"names: []\n", "expected names as .cat, dog. or one a line"),
    (b"names: {0: cat}\n", "expected names as .cat, dog. or one a line"),
    (b"names:\n  cat\n", "expected names as '0: cat' or '- cat', got 'cat'"),
    (b"names:\n  0: cat\n  0: dog\n", "expected names with a number of their own"),
    (b"names: [cat, cat]\n", "expected names with a number of their own"),
    (b"names:\n  0: 'cat\n", "expected a quoted name"),
    (b'names:\n  0: "cat\n', "expected a quoted name"),
    (b"names:\n  0: *alias\n", "expected the name of a category, got '[*]alias'"),
    (b"\xff\xfe", "expected UTF-8"),
    (b"names: [" + b" " * 500_000 + b"x" + b" " * 500_000 + b"[]", "expected names as .cat, dog. or one a line"),
    (b"#" * 2_000_000, "expected at most 1048576 bytes"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data.yaml").write_bytes(content)
    with pytest.raises(YOLOError, match=message):
        read_names(tmp_path / "data.yaml")
