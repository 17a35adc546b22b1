import csv
import io

from converters.report.by_image import COLUMNS, write_by_image
from converters.report.links import LabelStudioPages
from tests.fakes.corrections import box, corrected, region, scores_of

LEFT, RIGHT = box(0, 0, 6, 4), box(0, 4, 6, 8)


def test_each_correction_is_a_row_with_its_counts_and_its_link() -> None:
    scores = scores_of(
        corrected(
            [region("a", LEFT), region("b", RIGHT)],
            [region("a", LEFT), region("b", RIGHT, "dog")],
            annotator="ann@x",
            model_version="v1",
            lead_time_s=9.5,
            project=4,
        ),
        corrected([], [], task_id=2, image="=cmd.png"),
    )
    file = io.StringIO()
    write_by_image(file, scores.rows(), LabelStudioPages("http://a"))
    first, second = csv.DictReader(io.StringIO(file.getvalue()))
    assert tuple(first) == COLUMNS
    assert first == {
        "task": "1",
        "image": "/data/upload/1/1.png",
        "annotation": "11",
        "annotator": "ann@x",
        "prediction": "21",
        "model_version": "v1",
        "mean_iou": "0.25",
        "accepted": "1",
        "changed": "1",
        "relabelled": "1",
        "added": "0",
        "removed": "0",
        "splits": "0",
        "merges": "0",
        "painted_px": "0",
        "erased_px": "0",
        "annotated_px": "48",
        "seconds": "9.5",
        "link": "http://a/projects/4/data?task=1",
    }
    assert (second["image"], second["mean_iou"], second["seconds"], second["link"]) == ("'=cmd.png", "", "", "")
