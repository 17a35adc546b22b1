"""The bytes of a row's image: from where it may come, and in which order."""

import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from backend.command.addresses import image_path, read_at_most
from backend.command.manifest.images import FetcherOfSettings, ImagesOfRows, ImagesOfTasks
from backend.command.manifest.rows import Row
from backend.errors import (
    ImageBlockedError,
    ImageFetchError,
    ImageReferenceError,
    ImageSourceError,
    ImageTooLargeError,
)
from backend.settings import ImageSettings, LabelStudioSettings
from ovdiff.errors import StorageError
from ovdiff.storage import place
from tests.storages import asked_at


@dataclass
class Fetching:
    """Answers with what it was asked for."""

    limits: ImageSettings = field(default_factory=lambda: ImageSettings(image_max_bytes=10))

    def fetch(self, reference: str, *, task_id: int | None = None, within_s: float = 0) -> bytes:
        return f"{reference} of {task_id}".encode()

    @staticmethod
    def clock_s() -> float:
        return 0.0


def test_paths_are_relative_to_a_folder_and_addresses_stand_for_themselves(tmp_path: Path) -> None:
    (tmp_path / "cats").mkdir()
    (tmp_path / "cats/a.png").write_bytes(b"here")
    elsewhere: Any = image_path("memory://elsewhere")
    (elsewhere / "b.png").write_bytes(b"there")
    images = ImagesOfRows(str(tmp_path), Fetching())
    assert images.bytes_of(Row(1, "cats/a.png", 1)) == b"here"
    assert images.bytes_of(Row(1, str(tmp_path / "cats/a.png"), 1)) == b"here"
    assert images.bytes_of(Row(1, "memory://elsewhere/b.png", 1)) == b"there"
    assert images.bytes_of(Row(1, "https://host/a.png", 7)) == b"https://host/a.png of None"
    assert ImagesOfRows(str(elsewhere), Fetching()).bytes_of(Row(1, "b.png", 1)) == b"there"
    assert ImagesOfTasks(Fetching(), "").bytes_of(Row(1, "/data/a.png", 7)) == b"/data/a.png of 7"


def test_where_an_image_is_looked_for_is_said_unless_the_row_says_it_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = ImagesOfRows("p", Fetching())
    monkeypatch.chdir(tmp_path)
    assert images.source_of(Row(1, "a.png", 1)) == str(tmp_path.resolve() / "p")
    assert ImagesOfRows("memory://b/p", Fetching()).source_of(Row(1, "a.png", 1)) == "memory://b/p"
    assert [images.source_of(Row(1, name, 1)) for name in ("s3://b/a.png", "/a.png")] == ["", ""]
    assert ImagesOfTasks(Fetching(), "project 1").source_of(Row(1, "/data/a.png", 1)) == "project 1"


def test_an_image_that_cannot_be_had_is_said_in_words(tmp_path: Path) -> None:
    images = ImagesOfRows(str(tmp_path), Fetching())
    (tmp_path / "large.png").write_bytes(b"x" * 11)
    with pytest.raises(ImageFetchError, match=r"gone.png cannot be read: No such file or directory"):
        images.bytes_of(Row(1, "gone.png", 1))
    with pytest.raises(ImageTooLargeError, match=r"large.png has 11 bytes, more than 10 \(OVDIFF_IMAGE_MAX_BYTES\)"):
        images.bytes_of(Row(1, "large.png", 1))
    with pytest.raises(ImageReferenceError, match=r"ftpx://a.png cannot be used"):
        images.bytes_of(Row(1, "ftpx://a.png", 1))
    with pytest.raises(ImageFetchError, match=r"memory://nowhere/a.png cannot be read: "):
        images.bytes_of(Row(1, "memory://nowhere/a.png", 1))


def test_a_name_that_no_file_can_have_is_said(tmp_path: Path) -> None:
    images = ImagesOfRows(str(tmp_path), Fetching())
    with pytest.raises(ImageFetchError, match=r"ud800.png' cannot be read: "):
        images.bytes_of(Row(1, "\ud800.png", 1))
    with pytest.raises(ImageSourceError):
        images.bytes_of(Row(1, "http2://[a", 1))


def test_a_fetcher_of_settings_can_be_pickled_and_keeps_the_rules() -> None:
    fetcher = FetcherOfSettings(LabelStudioSettings(url="http://127.0.0.1:9"), ImageSettings())
    images = pickle.loads(pickle.dumps(ImagesOfRows("photos", fetcher)))
    assert images == ImagesOfRows("photos", fetcher) and images.fetcher.limits == ImageSettings()
    with pytest.raises(ImageBlockedError, match=r"images.example.org"):
        images.bytes_of(Row(1, "https://images.example.org/a.png", 1))
    with pytest.raises(ImageBlockedError, match=r"169.254.169.254"):
        images.bytes_of(Row(1, "http://169.254.169.254/latest", 1))
    assert images.fetcher.clock_s() > 0


def test_a_storage_that_is_away_for_long_ends_the_run_and_is_no_fault_of_a_row(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with asked_at("http://127.0.0.1:9", monkeypatch):  # the port of `discard`, where nobody listens
        path = place("s3://away/a.png", patience_s=0.0)
        with pytest.raises(StorageError, match=r"s3://away/a.png cannot be looked at.*Look whether the storage runs"):
            read_at_most(path, 10)
