from pathlib import Path

from converters.datasets.image_copies import copy_image
from converters.selection import SelectedImage, Tally


def test_a_copy_keeps_its_folders_and_a_missing_file_is_counted(tmp_path: Path) -> None:
    (tmp_path / "in/deep").mkdir(parents=True)
    (tmp_path / "in/deep/a.png").write_bytes(b"picture")
    tally = Tally()
    for name in ("deep/a.png", "b.png"):
        copy_image(SelectedImage(1, 7, name, (1, 1), ()), tmp_path / "in", tmp_path / "out", tally)
    assert (tmp_path / "out/deep/a.png").read_bytes() == b"picture"
    assert tally.left_out == {"image file that is not in the folder": 1}
    assert tally.details == ("image file that is not in the folder: task 7: b.png",)
