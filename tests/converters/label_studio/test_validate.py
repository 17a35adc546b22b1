"""What Label Studio drops or hides in silence: each kind is found, with where and what to do; good files are quiet."""

import copy
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from converters.encodings.bitmask import mask_to_data_url
from converters.encodings.brush import alpha_to_brush_rle, mask_to_brush_rle
from converters.errors import LabelStudioFormatError
from converters.files.image_files import folder_sizes
from converters.label_studio.findings import KINDS, Finding
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.validate import Expectations, Seen, validate_config, validate_file, validate_tasks

GOLDEN = Path(__file__).parents[1] / "golden"
HEIGHT, WIDTH = 24, 36
CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="cat"/><Label value="dog" alias="d"/></BrushLabels>'
    '<BitmaskLabels name="bitmask" toName="image"><Label value="cat"/></BitmaskLabels>'
    '<PolygonLabels name="polygon" toName="image"><Label value="cat"/></PolygonLabels>'
    '<RectangleLabels name="box" toName="image"><Label value="cat"/></RectangleLabels>'
    '<Brush name="tool" toName="image"/><Labels name="words" toName="image"><Label value="cat"/></Labels>'
    '<Choices name="quality" toName="image"><Choice value="good"/></Choices></View>'
)
MASK = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
MASK[4:12, 6:20] = True
RLE = mask_to_brush_rle(MASK)
SHAPE = {"rle": RLE}
SIZE = {"original_width": WIDTH, "original_height": HEIGHT}
TURNED = {"rle": mask_to_brush_rle(MASK.T), "original_width": HEIGHT, "original_height": WIDTH}


def result(kind: str = "brushlabels", value: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    names = {"brushlabels": "brush", "bitmasklabels": "bitmask", "polygonlabels": "polygon", "rectanglelabels": "box"}
    value = {"format": "rle", "rle": mask_to_brush_rle(MASK)} if value is None else value
    return {
        "id": "r1", "from_name": names[kind], "to_name": "image", "type": kind, "original_width": WIDTH,
        "original_height": HEIGHT, "value": {kind: ["cat"], **value}, **more,
    }  # fmt: skip


def brush(rle: Any = RLE, *labels: str, **more: Any) -> dict[str, Any]:
    return result(value={"rle": rle, "brushlabels": list(labels or ("cat",))}, **more)


def bitmask(url: str) -> dict[str, Any]:
    return result("bitmasklabels", {"imageDataURL": url})


def png(mode: str, value: int | tuple[int, ...]) -> str:
    from base64 import b64encode
    from io import BytesIO

    data = BytesIO()
    Image.new(mode, (WIDTH, HEIGHT), value).save(data, "PNG")
    return "data:image/png;base64," + b64encode(data.getvalue()).decode()


def task(*results: Any, **more: Any) -> dict[str, Any]:
    return {"id": 7, "data": {"image": "a.png"}, "annotations": [{"id": 3, "result": list(results)}], **more}


def predicted(*results: Any, **more: Any) -> dict[str, Any]:
    prediction = {"id": 4, "model_version": "v1", "score": 0.5, "result": list(results), **more}
    return task(annotations=[], predictions=[prediction])


def findings(*tasks: Any, **expected: Any) -> list[Finding]:
    return list(validate_tasks(tasks, Expectations(CONFIG, **expected), Seen()))


GOOD = [
    task(result(), result("bitmasklabels", {"imageDataURL": mask_to_data_url(MASK)}, id="r2")),
    task(result("polygonlabels", {"points": [[10, 10], [90, 10], [50, 90]]})),
    task(result("rectanglelabels", {"x": 10, "y": 10, "width": 50, "height": 50, "rotation": 0}, score=0.5)),
    task(brush(RLE, "d")),
    task(result(), {"type": "relation", "from_id": "r1", "to_id": "r1", "direction": "right"}),
    task({"from_name": "quality", "to_name": "image", "type": "choices", "value": {"choices": ["good"]}, "id": "q"}),
    task(
        {**result(), "from_name": "tool", "type": "brush", "value": SHAPE},
        {**result(), "from_name": "words", "type": "labels", "value": {**SHAPE, "labels": ["cat"]}},
    ),
    task(annotations=[{"id": 1, "was_cancelled": True, "result": []}], predictions=[5]),
    predicted(result(score=1)),
    {"image": "a.png"},
    {"id": 1, "image": "a.png", "annotation_id": 2, "brush": [{**brush()["value"], **SIZE}]},
]  # fmt: skip


@pytest.mark.parametrize("good", GOOD)
def test_what_is_right_is_passed_over(good: dict[str, Any]) -> None:
    assert findings(good) == []


BROKEN: list[tuple[str, Any, str]] = [
    ("unreadable-task", 5, "expected an object, got int"),
    ("unreadable-task", {"id": 7, "data": {}}, "expected the address of the image 'image' in data.image, got None"),
    ("unreadable-item", task(annotations={}), "expected annotations to be a list, got dict"),
    ("unreadable-item", task(result(), predictions=["x"]), "expected an object, got str"),
    ("unreadable-item", task(annotations=[{"result": None}]), "expected 'result' to be a list, got NoneType"),
    ("unreadable-item", task("x"), "expected a result to be an object, got str"),
    ("unreadable-item", task({**result(), "value": 5}), "expected 'value' to be an object, got int"),
    ("empty-result", task(), "the annotation holds no region"),
    ("empty-result", predicted(), "the prediction holds no region"),
    ("no-model-version", predicted(result(), model_version=None), "expected a model_version, got None"),
    ("bad-score", predicted(result(), score=85.0), "expected a score from 0 to 1, got 85.0"),
    ("bad-score", predicted(result(score=float("nan"))), "expected a score from 0 to 1, got nan"),
    ("bad-score", predicted(result(score="0.5")), "expected a score from 0 to 1, got '0.5'"),
    ("missing-name", task(result(from_name=None)), "expected from_name, got None"),
    ("missing-name", task(result(to_name="")), "expected to_name, got ''"),
    ("unknown-control", task(result(from_name="pen")), "expected a control of the config ['brush', "),
    ("unknown-control", task(result(to_name="photo")), "expected to_name 'image' of the control 'brush', got 'photo'"),
    ("unknown-image", task(result(item_index=1)), "expected an item_index from 0 to 0, got 1"),
    ("unknown-image", task(result(item_index=[0])), "got [0]"),
    ("unknown-type", task(result(type="brush")), "expected the type 'brushlabels', got 'brush'"),
    ("unknown-type", task(result(type=None)), "expected the type 'brushlabels', got None"),
    ("no-label", task({**result(), "value": SHAPE}), "labels under 'brushlabels', got None"),
    ("no-label", task(result(value={**SHAPE, "brushlabels": []})), "got []"),
    ("unknown-label", task(brush(RLE, "Cat")), "got 'Cat'"),
    ("unknown-label", task(brush(RLE, "dog")), "['cat', 'd'], got 'dog'"),
    ("no-shape", task(result(value={"format": "rle"})), "expected the shape of a region of type 'brushlabels'"),
    ("no-shape", task(result("polygonlabels", {"points": [[1, 2], [3, 4]]})), "at least 3 (x, y) pairs"),
    ("no-shape", task(result("rectanglelabels", {"x": "1", "y": 1, "width": 1, "height": 1})), "expected numbers for"),
    ("bad-size", task(result(original_width=None)), "expected an image width of at least 1 pixel, got None"),
    ("bad-size", task(result(original_height=10**7)), "expected an image of at most 100000000 pixels"),
    ("wrong-size", task(result(original_width=18)), "got a header announcing"),
    ("wrong-size", task(result(), brush(**TURNED, id="r2")), "expected 36x24 as the other regions of the image say"),
    ("truncated-mask", task(brush(RLE[:-3])), "the list is cut short"),
    ("truncated-mask", task(brush("AAA")), "expected a list of bytes (0..255), got str"),
    ("truncated-mask", task(bitmask("data:image/png;base64,AAAA")), "expected a PNG"),
    ("faint-mask", task(brush(alpha_to_brush_rle(MASK.astype(np.uint8)))), "values reach 1, of 255"),
    ("faint-mask", task(bitmask(png("RGBA", (0, 0, 0, 1)))), "the mask's values reach 1"),
    ("opaque-mask", task(bitmask(png("L", 0))), "the PNG has no transparency"),
    ("no-area", task(brush(mask_to_brush_rle(~MASK & MASK))), "the mask holds no pixel"),
    ("no-area", task(result("rectanglelabels", {"x": 200, "y": 1, "width": 1, "height": 1})), "covers no pixel"),
    ("outside-image", task(result("polygonlabels", {"points": [[0, 0], [300, 0], [300, 200]]})), "points lie outside"),
    ("duplicate-id", task(result(), brush(mask_to_brush_rle(~MASK))), "another region of this result has"),
    ("duplicate-id", task(result(), result()), "another region of this result has the same id"),
    ("missing-region", task(result(), {"type": "relation", "from_id": "r1", "to_id": "r9"}), "expected to_id of"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "broken", "what"), BROKEN)
def test_what_is_wrong_is_found_once_with_advice(kind: str, broken: Any, what: str) -> None:
    (found,) = findings(broken)
    assert (found.kind, found.kind in KINDS) == (kind, True)
    assert what in found.what
    assert found.advice.endswith(".")
    assert found.text().startswith(f"task {found.task}")
    assert found.task == (0 if broken == 5 else 7)


def test_a_finding_says_where() -> None:
    (found,) = findings(task(result(score=2)))
    assert (found.task, found.item, found.region) == (7, "annotation 3", "region r1")
    assert found.text() == (
        "task 7, annotation 3, region r1: expected a score from 0 to 1, got 2. Divide percents by 100; leave out what "
        "is unknown. [bad-score]"
    )


def test_sizes_are_held_against_the_images_as_they_are_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "a.png")
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "turned.jpg", exif=exif)
    sizes = folder_sizes(tmp_path)
    assert findings(task(result()), size_of=sizes) == []
    (turned,) = findings(task(result(), data={"image": "turned.jpg"}), size_of=sizes)
    assert (turned.kind, turned.what) == (
        "wrong-size",
        "expected 24x36, the size of the image as it is shown, got 36x24",
    )
    assert "the page applies EXIF orientation" in turned.advice
    half = result(
        value={"rle": mask_to_brush_rle(MASK[::2, ::2])}, original_width=WIDTH // 2, original_height=HEIGHT // 2
    )
    (scaled,) = findings(task(half), size_of=sizes)
    assert scaled.what == "expected 36x24, the size of the image as it is shown, got 18x12"
    (missing,) = findings(task(result(), data={"image": "b.png"}), size_of=sizes)
    assert (missing.kind, missing.what) == ("missing-image", "expected an image for 'b.png', got none that can be read")
    (elsewhere,) = findings(task(result()), size_of=sizes, image_root="s3://")
    assert elsewhere.kind == "missing-image"


def test_negatives_may_be_meant() -> None:
    assert findings(task(), negatives=True) == []
    assert len(findings(predicted(), negatives=True)) == 1


def _of_its_own(task: Any, number: int) -> Any:
    """Return a task with ids and an image of its own."""
    text = json.dumps(task).replace('"a.png"', f'"{number}.png"').replace('"id": 7', f'"id": {number}')
    return json.loads(text.replace('"id": 3', f'"id": {number}').replace('"id": 4', f'"id": {number}'))


def test_everything_is_found_in_one_go_and_counted() -> None:
    seen = Seen()
    broken = [broken for _, broken, _ in BROKEN]
    apart = [_of_its_own(one, number) for number, one in enumerate([*GOOD, *broken], start=100)]
    found = list(validate_tasks(apart, Expectations(CONFIG), seen))
    assert [finding.kind for finding in found] == [kind for kind, _, _ in BROKEN]
    assert seen.tasks == len(GOOD) + len(BROKEN)
    assert seen.results > len(BROKEN)


def test_the_rows_of_json_min_with_one_id_are_one_task() -> None:
    row = {"id": 1, "image": "a.png", "annotation_id": 2, "brush": [{**brush()["value"], **SIZE}]}
    assert findings(row, {**row, "annotation_id": 3}) == []
    apart = findings(row, {"id": 2, "image": "b.png"}, {**row, "annotation_id": 3})
    assert [finding.kind for finding in apart] == ["duplicate-task", "duplicate-image"]
    assert [finding.kind for finding in findings(row, row)] == ["duplicate-item"]


@pytest.mark.parametrize("name", ["corrections_api", "corrections_button", "corrections_snapshot"])
def test_real_exports_with_predictions_have_no_findings(name: str) -> None:
    config = parse_label_config((GOLDEN / "corrections_config.xml").read_text("utf-8"))
    assert [f.text() for f in validate_file(GOLDEN / f"{name}.json", Expectations(config), Seen())] == []


@pytest.mark.parametrize("name", ["export_json", "export_json_min", "api_tasks"])
def test_what_a_real_label_studio_exported_has_no_findings(name: str) -> None:
    config = parse_label_config((GOLDEN / "label_config.xml").read_text("utf-8"))
    expected = Expectations(config, negatives=True)
    assert [f.text() for f in validate_file(GOLDEN / f"{name}.json", expected, Seen())] == []


def test_a_file_that_ends_too_early_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "export.json").write_text(json.dumps([task(result())])[:-2])
    with pytest.raises(LabelStudioFormatError, match="expected JSON, which breaks or ends too early"):
        list(validate_file(tmp_path / "export.json", Expectations(CONFIG), Seen()))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@given(st.data())
def test_damaged_tasks_never_crash(data: st.DataObject) -> None:
    damaged = copy.deepcopy(data.draw(st.sampled_from(GOOD)))
    inner: Any = damaged
    while isinstance(inner, (dict, list)) and inner:
        key = data.draw(st.sampled_from(sorted(inner) if isinstance(inner, dict) else range(len(inner))))
        if not isinstance(inner[key], (dict, list)) or data.draw(st.booleans()):
            inner[key] = data.draw(json_values)
            break
        inner = inner[key]
    assert all(finding.kind in KINDS for finding in findings(damaged))


def test_the_names_in_to_name_may_stand_apart() -> None:
    apart = parse_label_config(
        '<View><Image name="image" value="$image"/><Image name="other" value="$image"/>'
        '<BrushLabels name="brush" toName="other, image"><Label value="cat"/></BrushLabels></View>'
    )
    assert list(validate_tasks([task(brush())], Expectations(apart), Seen())) == []


def test_a_label_config_is_looked_at_too() -> None:
    config = parse_label_config(
        '<View><Image name="image" value="$image"/><BrushLabels name="brush" toName="image">'
        '<Label value="cat" prompt="a cat"/><Label value="dog" threshold="high" kind="fluid"/></BrushLabels></View>'
    )
    unread, threshold, kind = validate_config(config)
    assert (unread.kind, threshold.kind, kind.kind) == ("unread-attribute", "bad-attribute", "bad-attribute")
    assert unread.text() == (
        "label config: prompt=\"a cat\" of the label 'cat' of <brushlabels name='brush'> is not read. "
        'Write prompts="a cat". [unread-attribute]'
    )
    assert threshold.what.endswith("such as 0.5, got 'high'")
    assert kind.text().endswith("got 'fluid'. The backend refuses the label config: correct the value. [bad-attribute]")
    assert {unread.kind, threshold.kind} < set(KINDS)
    assert list(validate_config(CONFIG)) == []
