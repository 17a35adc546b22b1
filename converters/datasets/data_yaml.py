"""The data.yaml of a YOLO dataset: the category names by number, and the folder of the dataset.

    train: images
    val: images
    names:
      0: "cat"
      1: "dog"

The file that is written has no `path`. Ultralytics resolves a relative `path` against the working directory, and takes
the folder of the file itself only where there is no `path` (`check_det_dataset` of Ultralytics 8.4).

Files are read with PyYAML's safe loader, and no further than its nodes: a name is the text that stands in the file, so
that a category `no` is not read as false. `names` may be a list or numbered; a file with `nc` alone has the names
class_0, class_1, ..., as Ultralytics gives them. A text file with one name a line is read, too.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from converters.errors import YOLOError
from converters.files.output import json_text

YAML_SUFFIXES = (".yaml", ".yml")
MAX_BYTES = 1 << 20
_MAX_NAMES = 100_000
_MAX_KEYPOINTS = 1000
_NUMBER = re.compile(r"[0-9]{1,9}")
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029\ufeff]")  # line breaks to a reader of YAML, or not to be printed


@dataclass(frozen=True)
class DataYaml:
    """What is read of a data.yaml.

    Attributes:
        names: the category names by number.
        path: the text of `path`, "" if there is none.
        keypoints: the names of the points of a pose dataset (`kpt_shape`), in their order; none if it is no such one.
        keypoint_values: how many values a point has: 2 for x and y, 3 with its visibility, 0 if there are no points.
    """

    names: Mapping[int, str]
    path: str = ""
    keypoints: tuple[str, ...] = ()
    keypoint_values: int = 0


def data_yaml_text(names: Sequence[str]) -> str:
    """Return the text of data.yaml for category names, in their order; images lie in images/, labels in labels/."""
    numbered = "".join(f"  {number}: {_quoted(name)}\n" for number, name in enumerate(names))
    head = "# One folder for all: divide it into train and val as you need.\ntrain: images\nval: images\n"
    return head + "names:\n" + numbered


def read_data_yaml(path: Path) -> DataYaml:
    """Read a data.yaml, of whatever name; a file that is no YAML by its suffix holds one category name a line.

    Raises:
        YOLOError: the file is no YAML, has no names, writes them in an unknown way, or has a number twice.
        OSError: the file cannot be opened.
    """
    text = _text(path)
    if path.suffix.lower() not in YAML_SUFFIXES:
        return DataYaml(_checked(list(enumerate(line.strip() for line in text.splitlines() if line.strip())), path))
    content = _mapping(text, path)
    folder = content.get("path")
    names = _names(content, path)
    points, values = _keypoints(content, path)
    return DataYaml(_checked(names, path), folder.value if isinstance(folder, yaml.ScalarNode) else "", points, values)


def _text(path: Path) -> str:
    if path.stat().st_size > MAX_BYTES:
        raise YOLOError(f"{path}: expected at most {MAX_BYTES} bytes, got {path.stat().st_size}")
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise YOLOError(f"{path}: expected UTF-8, got other bytes: {error}") from error


def _mapping(text: str, path: Path) -> dict[str, yaml.Node]:
    """Return the nodes of the file by key."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        said = " ".join(str(error).split())
        raise YOLOError(f"{path}: expected YAML, which cannot be read: {said:.200}") from error
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return {key.value: value for key, value in pairs if isinstance(key, yaml.ScalarNode)}


def _names(content: Mapping[str, yaml.Node], path: Path) -> list[tuple[int, str]]:
    names = content.get("names")
    count = content.get("nc")
    if isinstance(names, yaml.SequenceNode) and names.tag == "tag:yaml.org,2002:seq":
        return [(number, _name(node, path)) for number, node in enumerate(names.value)]
    if isinstance(names, yaml.MappingNode) and names.tag == "tag:yaml.org,2002:map":
        return [(_number(key, path), _name(node, path)) for key, node in names.value]
    is_missing = names is None or names.tag == "tag:yaml.org,2002:null"
    if is_missing and isinstance(count, yaml.ScalarNode) and _NUMBER.fullmatch(count.value):
        return [(number, f"class_{number}") for number in range(min(int(count.value), _MAX_NAMES + 1))]
    got = "none" if is_missing or names is None else _shown(names)
    raise YOLOError(f"{path}: expected the categories under 'names:', as [cat, dog], {{0: cat}} or lines, got {got}")


def _keypoints(content: Mapping[str, yaml.Node], path: Path) -> tuple[tuple[str, ...], int]:
    """Return the names of keypoints and the number of values of each; names that are not given are numbers from 1."""
    shape = content.get("kpt_shape")
    if shape is None:
        return (), 0
    sides = [node.value for node in shape.value] if isinstance(shape, yaml.SequenceNode) else []
    if len(sides) != 2 or not all(isinstance(side, str) and _NUMBER.fullmatch(side) for side in sides):
        raise YOLOError(f"{path}: expected kpt_shape as [number of points, 2 or 3], got {_shown(shape)}")
    count, values = int(sides[0]), int(sides[1])
    if not 0 < count <= _MAX_KEYPOINTS or values not in (2, 3):
        raise YOLOError(f"{path}: expected kpt_shape as [1 to {_MAX_KEYPOINTS}, 2 or 3], got {sides}")
    given = content.get("kpt_names")
    lists = [given, *(node for _, node in given.value)] if isinstance(given, yaml.MappingNode) else [given]
    for node in lists:
        if isinstance(node, yaml.SequenceNode) and len(node.value) == count:
            names = tuple(_name(item, path) for item in node.value)
            if len(set(names)) == count:
                return names, values
    return tuple(str(number) for number in range(1, count + 1)), values


def _shown(node: yaml.Node) -> str:
    """Return what stands at a node for a message; not what is inside it, which aliases can make larger than memory."""
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)[:60]
    return "a list" if isinstance(node, yaml.SequenceNode) else "an object"


def _number(node: yaml.Node, path: Path) -> int:
    if not isinstance(node, yaml.ScalarNode) or not _NUMBER.fullmatch(node.value):
        raise YOLOError(f"{path}: expected numbered names such as '0: cat', got {_shown(node)} for a number")
    return int(node.value)


def _name(node: yaml.Node, path: Path) -> str:
    if not isinstance(node, yaml.ScalarNode) or not node.value.strip():
        raise YOLOError(f"{path}: expected the name of a category, in quotes if it has a colon, got {_shown(node)}")
    name: str = node.value
    return name


def _checked(pairs: Sequence[tuple[int, str]], path: Path) -> dict[int, str]:
    names = dict(pairs)
    if not names or len(names) < len(pairs) or len(names) > _MAX_NAMES:
        raise YOLOError(
            f"{path}: expected names with a number of their own each (1 to {_MAX_NAMES} of them), got {pairs!r:.200}"
        )
    return names


def _quoted(name: str) -> str:
    """Return a name in double quotes; inside them, YAML has the same escapes as JSON."""
    return _BREAKS.sub(lambda found: f"\\u{ord(found[0]):04x}", json_text(name))
