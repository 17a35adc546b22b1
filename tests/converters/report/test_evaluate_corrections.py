"""From an export file to three files: what is refused, what is written, and that memory does not grow with tasks."""

import json
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from converters.corrections.result import report_to_json
from converters.encodings.brush import mask_to_brush_rle
from converters.errors import ConverterError, EvaluationError, LabelStudioFormatError, OutputError
from converters.files.output import json_text
from converters.label_studio.categories import categories_of
from converters.label_studio.label_config import parse_label_config
from converters.label_studio.reader import tasks_to_records
from converters.records import ImageRecord
from converters.report.evaluate_corrections import (
    EvaluationOptions,
    evaluate_corrections,
    evaluate_records,
    write_evaluation,
)
from converters.report.html import report_to_html
from converters.report.markdown import report_to_markdown

HEIGHT, WIDTH = 48, 64
CONFIG = parse_label_config(
    '<View><Image name="image" value="$image"/>'
    '<BrushLabels name="brush" toName="image"><Label value="cat"/></BrushLabels></View>'
)


def region(width: int, **more: Any) -> dict[str, Any]:
    mask = np.zeros((HEIGHT, WIDTH), dtype=np.bool_)
    mask[10:30, :width] = True
    value = {"format": "rle", "rle": mask_to_brush_rle(mask), "brushlabels": ["cat"]}
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    return {"id": "r", "from_name": "brush", "to_name": "image", "type": "brushlabels", "value": value, **size, **more}


def task(number: int, width: int = 40, **more: Any) -> dict[str, Any]:
    prediction = {"id": number, "result": [region(30, score=0.5)], "model_version": "v"}
    annotation = {"id": number, "result": [region(width)], "parent_prediction": number, "lead_time": 2.0}
    data = {"image": f"/data/upload/1/{number}.png"}
    return {"id": number, "data": data, "annotations": [annotation], "predictions": [prediction], **more}


def export(folder: Path, tasks: list[Any]) -> Path:
    path = folder / "export.json"
    path.write_text(json.dumps(tasks), encoding="utf-8")
    return path


def test_four_files_are_written_with_the_same_numbers(tmp_path: Path) -> None:
    evaluation = evaluate_corrections(export(tmp_path, [task(1), task(2, width=30)]), CONFIG)
    paths = write_evaluation(evaluation, tmp_path / "new" / "out")
    assert [path.name for path in paths] == [f"corrections.{kind}" for kind in ("json", "md", "html", "csv")]
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == sorted(path.name for path in paths)
    report = json.loads(paths[0].read_text(encoding="utf-8"))
    assert report["source"] == "export.json"
    assert report["categories"][0]["iou"] == (30 + 30) / (40 + 30)
    assert "0.857" in paths[1].read_text(encoding="utf-8")
    assert "0.857" in paths[2].read_text(encoding="utf-8")


def test_the_same_export_gives_the_same_files(tmp_path: Path) -> None:
    path = export(tmp_path, [task(n, width=30 + n) for n in range(1, 12)])
    first, second = (
        [p.read_bytes() for p in write_evaluation(evaluate_corrections(path, CONFIG), tmp_path / name)] for name in "ab"
    )
    assert first == second


def test_an_export_without_predictions_says_how_to_get_them(tmp_path: Path) -> None:
    bare = task(1, predictions=[1])
    with pytest.raises(EvaluationError) as caught:
        evaluate_corrections(export(tmp_path, [bare, {"id": 2, "image": "a.png"}]), CONFIG)
    message = str(caught.value)
    assert message.startswith(
        "expected at least one annotation in export.json that replaced a prediction, got none in 2"
    )
    assert "prediction that is not in the export: 1" in message and "{'" not in message
    assert '{"serialization_options": {"predictions": {"only_id": false}}}' in message


def test_an_export_that_nobody_has_annotated_says_so_and_does_not_blame_the_export(tmp_path: Path) -> None:
    predicted = task(1)
    predicted["annotations"] = []
    with pytest.raises(EvaluationError) as caught:
        evaluate_corrections(export(tmp_path, [predicted]), CONFIG)
    assert str(caught.value).endswith(
        "got none in 1 images (image that nobody has annotated: 1). "
        "Annotate some of them in Label Studio, and export the project again."
    )


def test_what_cannot_be_read_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    broken = task(2)
    broken["annotations"][0]["result"].append(region(5, id="x", original_width=None))
    counts = evaluate_corrections(export(tmp_path, [task(1), broken]), CONFIG).report.counts
    assert (counts.images_in, counts.corrections_out, counts.left_out) == (2, 2, {"unreadable region": 1})
    assert "region 'x'" in counts.details[0]


def test_what_is_no_export_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelStudioFormatError, match="expected a JSON array of tasks"):
        evaluate_corrections(export(tmp_path, 7), CONFIG)  # type: ignore[arg-type]


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    evaluation = evaluate_corrections(export(tmp_path, [task(1)]), CONFIG)
    (tmp_path / "out").write_text("a file")
    with pytest.raises(OutputError, match=r"corrections\.json cannot be written"):
        write_evaluation(evaluation, tmp_path / "out")


def test_only_the_worst_are_kept(tmp_path: Path) -> None:
    path = export(tmp_path, [task(n, width=31 + n) for n in range(1, 30)])
    evaluation = evaluate_corrections(path, CONFIG, EvaluationOptions(worst_count=2))
    assert [item.record.task_id for item in evaluation.worst] == [29, 28]


def test_records_are_forgotten_once_they_are_counted() -> None:
    alive: list[weakref.ref[ImageRecord]] = []
    most = 0

    def records() -> Iterator[ImageRecord]:
        nonlocal most
        for record in tasks_to_records((task(n, width=31 + n % 20) for n in range(60)), CONFIG):
            alive.append(weakref.ref(record))
            most = max(most, sum(known() is not None for known in alive))
            yield record

    evaluate_records(records(), categories_of(CONFIG), "test", EvaluationOptions(worst_count=3))
    assert most <= 3 + 3  # the worst, the one being counted, and those on their way


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_task_is_evaluated_or_a_clear_error(data: st.DataObject) -> None:
    damaged = json.loads(json.dumps(task(1)))
    whole = data.draw(st.sampled_from([damaged, damaged["annotations"][0], damaged["predictions"][0]]))
    part = data.draw(st.sampled_from([whole, *whole["result"]] if "result" in whole else [whole]))
    names = (
        "parent_prediction",
        "prediction",
        "model_version",
        "created_at",
        "completed_by",
        "was_cancelled",
        "origin",
    )
    part[data.draw(st.sampled_from(sorted({*part, *names})))] = data.draw(json_values)
    try:
        records = tasks_to_records([damaged, task(2)], CONFIG)
        evaluation = evaluate_records(records, categories_of(CONFIG), "test", EvaluationOptions())
    except ConverterError as error:
        assert "expected" in str(error)
    else:
        json_text(report_to_json(evaluation.report))
        report_to_html(evaluation.report, evaluation.worst).encode("utf-8")
        report_to_markdown(evaluation.report).encode("utf-8")
