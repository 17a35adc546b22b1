import json
from pathlib import Path

import pytest

from backend.command.odise_captions import read_captions
from backend.errors import UsageError


def test_captions_of_coco_and_of_lines_are_found_by_the_image_s_name(tmp_path: Path) -> None:
    said = [(4, "a car"), (4, "a red car"), (5, "the sea"), (9, "of no image")]
    dataset = {
        "images": [{"id": 4, "file_name": "a.jpg"}, {"id": 5, "file_name": "sub/b.jpg"}],
        "annotations": [{"image_id": number, "caption": caption} for number, caption in said],
    }
    (tmp_path / "coco.json").write_text(json.dumps(dataset))
    rows = [{"image": "a.jpg", "captions": ["a car", "a red car"]}, {"image": "sub/b.jpg", "caption": "the sea"}]
    (tmp_path / "lines.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    for name in ("coco.json", "lines.jsonl"):
        captions = read_captions(tmp_path / name)
        assert len(captions) == 2
        assert captions.of("/data/upload/3/1f2e3d4c-a.jpg") == captions.of("a.jpg") == ("a car", "a red car")
        assert captions.of("s3://bucket/sub/b.jpg") == captions.of("sub/b.jpg") == ("the sea",)
    assert len(read_captions(None)) == 0 and read_captions(None).of("a.jpg") == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "holds no caption"),
        ('{"image": "a.jpg", "caption": "a"}\n{"image": "b.jpg"}', "line 2: expected"),
        ('{"image": 7, "caption": "a"}', "expected an image's name and sentences"),
        ('{"images": [{"id": 1}], "annotations": []}', "expected COCO captions"),
        ('{"images": [], "annotations": [{"image_id": [4], "caption": "a"}]}', "expected COCO captions"),
        ("not JSON", "line 1: expected"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "captions").write_text(text)
    with pytest.raises(UsageError, match=words):
        read_captions(tmp_path / "captions")
    with pytest.raises(UsageError, match="cannot be read"):
        read_captions(tmp_path / "absent")
