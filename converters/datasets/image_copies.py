"""Copies of the images, for datasets that keep them beside their labels."""

import shutil
from pathlib import Path

from converters.files.image_files import find_image_file
from converters.selection import SelectedImage, Tally


def copy_image(image: SelectedImage, source: Path, target: Path, tally: Tally) -> None:
    """Copy an image into a folder under its own name; if there is no such file, count it as left out.

    Args:
        image: an image whose name stays inside a folder, as `selection.with_own_file` makes sure.
        source: the folder of the images.
        target: the folder to copy to.
        tally: the counts to add to.
    """
    path = find_image_file(source, image.file_name)
    if path is None:
        tally.leave_out("image file that is not in the folder", f"task {image.task_id}: {image.file_name}")
        return
    copy = target / image.file_name
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(path, copy)
