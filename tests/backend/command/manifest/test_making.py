"""One shard: a COCO dataset that follows from the rows, the images and the run alone."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend.command.manifest.making import MASKS_A_ROW, Making, shard_of
from backend.command.manifest.rows import BadRow, Batch, Row
from backend.command.plan import Wanted
from backend.command.prototypes import read_categories
from backend.errors import ImageFetchError
from ovdiff.distributed.engine_worker import engine_here, use_engine
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded, red_and_blue

PICTURE = encoded(red_and_blue())


@dataclass(frozen=True)
class Images:
    """Brings one picture, but for some rows."""

    others: Mapping[str, bytes | ImageFetchError] = field(default_factory=dict)

    def bytes_of(self, row: Row) -> bytes:
        found = self.others.get(row.image, PICTURE)
        if isinstance(found, ImageFetchError):
            raise found
        return found

    def source_of(self, row: Row) -> str:
        return "pictures"


def making(tmp_path: Path, images: Images | None = None, **wanted: bool | int) -> Making:
    engine, vocabulary = FakeEngine(tmp_path / "bank"), read_categories("blue, red")
    for category in vocabulary.categories:
        engine.build(category)
    use_engine(engine)
    return Making(vocabulary, Wanted(**wanted), images or Images(), 10_000, "v")  # type: ignore[arg-type]


def make_shard(batch: Batch, made: Making) -> dict[str, Any]:
    return shard_of(batch, [made.stages(row) if isinstance(row, Row) else row for row in batch.rows], made)


def test_a_batch_becomes_a_dataset_whose_ids_nobody_had_to_count(tmp_path: Path) -> None:
    rows = [Row(8, "a.png", 70, "", (64, 48), {"source": "x"}), Row(9, "b.png", 71, "second")]
    dataset = make_shard(Batch(1, 8, rows), making(tmp_path))
    size = {"width": 64, "height": 48}
    assert dataset["images"] == [
        {"id": 70, "file_name": "a.png", **size, "carried": {"source": "x"}},
        {"id": 71, "file_name": "b.png", **size, "row_id": "second"},
    ]
    found = [(each["id"], each["image_id"], each["category_id"]) for each in dataset["annotations"]]
    assert found == [
        (8 * MASKS_A_ROW, 70, 1), (8 * MASKS_A_ROW + 1, 70, 2), (9 * MASKS_A_ROW, 71, 1), (9 * MASKS_A_ROW + 1, 71, 2)
    ]  # fmt: skip
    assert [(each["id"], each["name"]) for each in dataset["categories"]] == [(1, "blue"), (2, "red")]
    info = dataset["info"]
    assert info["model_version"] == "v" and info["left_out"] == []
    assert info["rows"] == {"first": 8, "last": 9, "sha256": Batch(1, 8, rows).digest(lambda row: "pictures")}
    assert info["categories"] == {"blue": [2, 2, 768], "red": [2, 2, 768]}
    assert info["counts"] == {
        "images": 2, "annotations": 4, "left_out": 0, "failed_images": 0, "dropped_parts": 0, "hidden_masks": 0
    }  # fmt: skip


def test_a_row_without_a_result_is_named_and_the_others_go_on(tmp_path: Path) -> None:
    images = Images({"gone": ImageFetchError("it is not there."), "broken": b"no picture"})
    rows = [
        Row(1, "gone", 1), BadRow(2, "None", "no image"), Row(3, "broken", 3), Row(4, "a", 4, "", (48, 64)),
        Row(5, "b", 5),
    ]  # fmt: skip
    dataset = make_shard(Batch(0, 1, rows), making(tmp_path, images))
    assert [image["id"] for image in dataset["images"]] == [5]
    told = [(row["number"], row["value"], row["reason"][:34]) for row in dataset["info"]["left_out"]]
    assert told == [
        (1, "gone", "it is not there."),
        (2, "None", "no image"),
        (3, "broken", "10 bytes that start with 'no pictu"),
        (4, "a", "the manifest says (48, 64) pixels "),
    ]
    counts = dataset["info"]["counts"]
    assert (counts["images"], counts["left_out"], counts["failed_images"]) == (1, 4, 3)


def test_no_secret_of_an_address_is_stored(tmp_path: Path) -> None:
    rows = [Row(1, "s3://k:hu/sh@b/a.png", 1), Row(2, "https://h/a.png?X-Amz-Signature=hush", 2)]
    images = Images({rows[0].image: ImageFetchError(f"{rows[0].image} cannot be read.")})
    dataset = make_shard(Batch(0, 1, rows), making(tmp_path, images))
    assert dataset["info"]["left_out"] == [
        {"number": 1, "value": "s3://...@b/a.png", "reason": "s3://...@b/a.png cannot be read."}
    ]
    assert [image["file_name"] for image in dataset["images"]] == ["https://h/a.png"]


def test_images_that_a_key_names_have_names_of_their_own(tmp_path: Path) -> None:
    rows = [Row(number, f"https://h/i?key=cats/{number}.jpg", number) for number in (1, 2)]
    dataset = make_shard(Batch(0, 1, rows), making(tmp_path))
    assert [image["file_name"] for image in dataset["images"]] == [row.image for row in rows]


def test_options_shape_the_masks_as_they_do_for_a_folder(tmp_path: Path) -> None:
    dataset = make_shard(Batch(0, 1, [Row(1, "a", 1)]), making(tmp_path, min_area_px=10_000))
    assert dataset["annotations"] == [] and dataset["info"]["counts"]["dropped_parts"] == 2
    assert [image["id"] for image in dataset["images"]] == [1], "an image in which nothing was found is there"


def test_an_engine_that_fails_altogether_ends_the_run(tmp_path: Path) -> None:
    from ovdiff.errors import WeightsError

    made = making(tmp_path)

    def fail() -> None:
        raise WeightsError("there are none")

    engine_here().on_segment = fail  # type: ignore[attr-defined]
    with pytest.raises(WeightsError, match="there are none"):
        make_shard(Batch(0, 1, [Row(1, "a", 1)]), made)
