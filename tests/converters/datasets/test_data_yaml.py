"""data.yaml: written so that a reader of YAML reads it, and read in the ways in which such files are written."""

from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from converters.datasets.data_yaml import DataYaml, data_yaml_text, read_data_yaml
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
    assert read_data_yaml(path).names == dict(enumerate(drawn))
    read = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert read == {"train": "images", "val": "images", "names": dict(enumerate(drawn))}


WAYS = [
    "names:\n  0: cat\n  1: dog\n",
    "nc: 2\nnames: ['cat', \"dog\"]\n",
    "names: [cat, dog] # two of them\n",
    "names: [ cat ,dog, ]\n",
    "names:\n- cat\n- dog\ntrain: images\n",
    "names:  # two\r\n  - cat # one\r\n\r\n  - 'dog'\r\npath: x\r\n",
    "names: {0: cat, 1: 'dog'}\n",
    "names: [cat,\n  dog\n]\n",
    "names:\n  [\n    cat,  # one\n    dog\n  ]\nnc: 2\n",
    '# names: [no]\nnames:\n\n  1: dog\n  0: "cat"\nval: images\n',
]


@pytest.mark.parametrize("text", WAYS)
def test_every_way_of_writing_names_is_read(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.yaml").write_text(text, newline="")
    assert read_data_yaml(tmp_path / "data.yaml").names == {0: "cat", 1: "dog"}
    assert yaml.safe_load(text)["names"] in ({0: "cat", 1: "dog"}, ["cat", "dog"])


@pytest.mark.parametrize("use", ["names: [*h]", "names: {0: *h}", "names: *h", "names: [cat]\nkpt_shape: [*h]"])
def test_a_small_file_of_many_aliases_is_refused_at_once(tmp_path: Path, use: str) -> None:
    """Written out, eight lists of ten aliases each have a hundred million items."""
    lists = ["a: &a [x, x, x, x, x, x, x, x, x, x]"]
    lists += [f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]" for before, name in pairwise("abcdefgh")]
    (tmp_path / "data.yaml").write_text("\n".join([*lists, use]))
    with pytest.raises(YOLOError, match="got a list"):
        read_data_yaml(tmp_path / "data.yaml")


QUOTED = [
    ("- men's shoes # all", "men's shoes"),
    ("- 'men''s # shoes'", "men's # shoes"),
    ('- "a \\" # b \\\\" # c', 'a " # b \\'),
    ("- c#", "c#"),
]


@pytest.mark.parametrize(("line", "name"), QUOTED)
def test_quotes_and_comments_are_told_apart(tmp_path: Path, line: str, name: str) -> None:
    (tmp_path / "data.yaml").write_text(f"names:\n{line}\n")
    assert read_data_yaml(tmp_path / "data.yaml").names == {0: name}


def test_words_that_yaml_takes_for_something_else_are_names(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("path: /sets/x\nnames: [no, 1, 2026-11-21, null]\n")
    names = {0: "no", 1: "1", 2: "2026-11-21", 3: "null"}
    assert read_data_yaml(tmp_path / "data.yaml") == DataYaml(names, "/sets/x")


def test_a_count_alone_gives_the_names_of_ultralytics(tmp_path: Path) -> None:
    (tmp_path / "data.yaml").write_text("nc: 2\nnames:\n")
    assert read_data_yaml(tmp_path / "data.yaml").names == {0: "class_0", 1: "class_1"}


def test_a_list_of_names_is_one_name_a_line(tmp_path: Path) -> None:
    (tmp_path / "classes.txt").write_text("\ufeffcat\r\n\r\n a: dog \n", encoding="utf-8")
    assert read_data_yaml(tmp_path / "classes.txt").names == {0: "cat", 1: "a: dog"}


BROKEN = [
    (b"", "expected the categories under 'names:', .* got none"),
    (b"train: x\n", "expected the categories under 'names:', .* got none"),
    (b"names:\n", "expected the categories under 'names:', .* got none"),
    (b"names: cat\n", "expected the categories under 'names:', as .cat, dog., .* got 'cat'"),
    (b"names: [cat, [dog]]\n", "expected the name of a category"),
    (b"names: [cat, a: dog]\n", "expected the name of a category, in quotes if it has a colon"),
    (b"names: []\n", "expected names with a number of their own"),
    (b"names: {cat: 0}\n", "expected numbered names such as '0: cat', got 'cat' for a number"),
    (b"names:\n  0: cat\n  0: dog\n", "expected names with a number of their own"),
    (b"names:\n  0: 'cat\n", "expected YAML, which cannot be read"),
    (b"names:\n  0: *alias\n", "expected YAML, which cannot be read: found undefined alias"),
    (b"names: !!python/object/apply:os.system ['true']\n", "expected the categories under 'names:'"),
    (b"names: [a]\nkpt_shape: 17\n", "expected kpt_shape as .number of points, 2 or 3., got '17'"),
    (b"names: [a]\nkpt_shape: [17, 4]\n", "expected kpt_shape as .1 to 1000, 2 or 3."),
    (b"names: [a]\nkpt_shape: [[], {}]\n", "expected kpt_shape as .number of points, 2 or 3."),
    (b"nc: 900000000\n", "expected names with a number of their own"),
    (b"names: " + b"[" * 50_000, "expected YAML, which cannot be read"),
    (b"\xff\xfe", "expected UTF-8"),
    (b"names: [" + b" " * 500_000 + b"x" + b" " * 500_000 + b"[]", "expected YAML, which cannot be read"),
    (b"#" * 2_000_000, "expected at most 1048576 bytes"),
]


@pytest.mark.parametrize(("content", "message"), BROKEN)
def test_what_cannot_be_read_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "data.yaml").write_bytes(content)
    with pytest.raises(YOLOError, match=message):
        read_data_yaml(tmp_path / "data.yaml")
