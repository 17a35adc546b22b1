import os
import stat
import threading
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from backend.command.addresses import (
    ImagesBelow,
    files_below,
    find_image,
    image_path,
    looking_at,
    read_at_most,
    read_bytes,
)
from backend.command.arguments import shared
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.command.segment import segment_images
from backend.errors import ImageSourceError, ImageTooLargeError, UsageError
from backend.settings import ImageSettings
from ovdiff.errors import StorageError
from ovdiff.storage import is_stored
from ovdiff.storage.patience import PATIENCE_S
from ovdiff.storage.stored_path import StoredPath
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import encoded
from tests.fakes.scripted_server import scripted_server
from tests.storages import Cable, asked_at, new_bucket

BUCKET = "s3://photos"
CLOSED = "http://127.0.0.1:9"  # the port of `discard`, where nobody listens


@pytest.fixture
def storage(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket with three pictures below 2024, of which one is broken, and notes; it is asked as AWS's tools ask it."""
    with asked_at(s3_server, monkeypatch):
        yield filled(image_path(BUCKET))


def filled(bucket: Any) -> Any:
    bucket.fs_and_path()[0].makedirs("photos", exist_ok=True)
    for name, colour in (("red", (255, 0, 0)), ("deep/blue", (0, 0, 255))):
        bucket.joinpath(f"2024/{name}.png").write_bytes(encoded(np.full((6, 8, 3), colour, np.uint8)))
    bucket.joinpath("2024/notes.txt").write_bytes(b"notes")
    bucket.joinpath("2024/broken.png").write_bytes(b"no picture")
    return bucket


def test_a_folder_that_cannot_be_listed_is_not_left_out_in_silence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its images were missing from the run, which said that all was well."""
    for name in ("b/2.png", "b/closed/3.png", "a.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "link").symlink_to(tmp_path / "b")
    names = [file.relative_to(tmp_path).as_posix() for file in files_below(tmp_path)]
    assert names == ["a.png", "b/2.png", "b/closed/3.png"]
    ask = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith(("closed", "lost+found")):
            raise PermissionError(13, "Permission denied", str(path))
        return ask(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UsageError, match=r"The folder '.*/b/closed' cannot be listed.*: Permission denied\. Let this"):
        files_below(tmp_path)
    (tmp_path / "b/closed").rename(tmp_path / "b/lost+found")
    assert [file.name for file in files_below(tmp_path)] == ["a.png", "2.png"]


def test_what_is_no_address_is_a_path() -> None:
    for text in ("photos", "./a:b.png", "C:/photos", "/photos/a.png"):
        assert image_path(text) == Path(text) and not is_stored(image_path(text))
    assert image_path("file:///photos/a.png") == Path("/photos/a.png")
    assert is_stored(image_path("memory://photos"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ftpx://photos", "ftpx://photos cannot be used: Protocol not known: ftpx."),
        ("oss://photos", "oss://photos cannot be used: Install ossfs to access Alibaba Object Storage System."),
        ("s3://ann:hush@photos", "s3://...@photos holds a user or a password. Leave them out"),
    ],
)
def test_an_address_that_cannot_be_used_is_said_in_words(text: str, said: str) -> None:
    with pytest.raises(UsageError) as caught:
        image_path(text)
    assert str(caught.value).startswith(said) and "hush" not in str(caught.value)


def test_a_folder_is_listed_by_a_request_and_not_by_one_for_each_file(storage: Any) -> None:
    folder = storage / "2024"
    fs, asked = storage.fs_and_path()[0], list[str]()
    call = fs._call_s3

    async def counted(method: str, *arguments: Any, **more: Any) -> Any:
        asked.append(method)
        return await call(method, *arguments, **more)

    fs._call_s3 = counted
    try:
        found = files_below(folder)
    finally:
        del fs._call_s3
    assert [file.relative_to(folder).as_posix() for file in found] == [
        "broken.png", "deep/blue.png", "notes.txt", "red.png",
    ]  # fmt: skip
    assert len(asked) <= 2


def test_local_files_are_listed_alike(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    for name in ("b.png", "deep/a.png"):
        (tmp_path / name).touch()
    assert files_below(tmp_path) == [tmp_path / "b.png", tmp_path / "deep/a.png"]


def test_images_of_a_bucket_are_segmented(storage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from backend.errors import RequestError

    plan = make_plan([image_path(f"{BUCKET}/2024")], Wanted(tmp_path / "out"))
    assert [job.name for job in plan.jobs] == ["broken.png", "deep/blue.png", "red.png"]
    assert plan.left_out == {".txt": 1}
    with pytest.raises(RequestError, match="1 of 3 images could not be segmented"):
        segment_images(plan, read_categories("red, blue"), FakeEngine(tmp_path / "bank"), max_px=1000)
    assert {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.png")} == {
        "out/red.overlay.png", "out/deep/blue.overlay.png",
    }  # fmt: skip
    assert f"{BUCKET}/2024/broken.png" in capsys.readouterr().err


def test_results_of_a_bucket_need_a_folder_here(storage: Any) -> None:
    for address in (f"{BUCKET}/2024", f"{BUCKET}/2024/red.png"):
        with pytest.raises(UsageError, match=r"Say with --out where the results of s3://photos/2024\S* are to go"):
            make_plan([image_path(address)], Wanted())


def test_what_a_bucket_does_not_hold_is_named(storage: Any, tmp_path: Path) -> None:
    for address in (f"{BUCKET}/nothing", f"{BUCKET}/2024/green.png", "s3://nobody/x"):
        with pytest.raises(UsageError, match=f"There is no image or folder .*{address[-5:]}"):
            make_plan([image_path(address)], Wanted(tmp_path))
    with pytest.raises(ImageSourceError, match="it cannot be read: "):
        read_bytes(storage / "2024/gone.png")


def test_a_storage_that_nobody_answers_for_is_said_in_words(
    storage: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    with asked_at(CLOSED, monkeypatch):
        for address in (f"{BUCKET}/2024", f"{BUCKET}/2024/red.png"):
            with pytest.raises(UsageError, match=rf"{address} cannot be looked at.*: Could not connect.*Look whether"):
                make_plan([image_path(address, 0.0)], Wanted(tmp_path))
        with pytest.raises(StorageError, match=r"red\.png cannot be read.*: Could not connect"):
            read_bytes(image_path(f"{BUCKET}/2024/red.png", 0.0))
        with pytest.raises(StorageError, match=r"red\.png cannot be looked at.*: Could not connect"):
            ImagesBelow(image_path(f"{BUCKET}/2024", 0.0), "", ImageSettings()).fetch("red.png")


def test_a_command_waits_for_a_storage_as_long_as_the_settings_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OVDIFF_STORAGE_PATIENCE_S", "7")
    assert cast(StoredPath, shared.image_path(BUCKET)).patience_s == 7.0
    assert cast(StoredPath, shared.bank_place(BUCKET)).patience_s == 7.0
    monkeypatch.setenv("OVDIFF_STORAGE_PATIENCE_S", "long")  # it is the command that says what is wrong with that
    assert cast(StoredPath, shared.image_path(BUCKET)).patience_s == PATIENCE_S


def test_images_are_waited_for_while_a_storage_is_away(cable: Cable, tmp_path: Path) -> None:
    folder: Any = image_path(f"{new_bucket()}/2024", 60.0)
    (folder / "red.png").write_bytes(encoded(np.zeros((6, 8, 3), np.uint8)))
    cable.cut()
    threading.Timer(0.7, cable.mend).start()
    plan = make_plan([folder], Wanted(tmp_path / "out"))
    cable.cut()
    threading.Timer(0.7, cable.mend).start()
    assert read_bytes(plan.jobs[0].image)[1:4] == b"PNG"


def test_an_annotated_image_is_found_by_its_name_and_not_outside(storage: Any) -> None:
    folder = storage / "2024"
    for name in ("red.png", "0123abcd-red.png", "deep/blue.png"):
        found = find_image(folder, name)
        assert found is not None and read_bytes(found)[1:4] == b"PNG"
    assert find_image(folder / "deep", "../red.png") is None
    assert find_image(folder, "file:///etc/passwd") is None and find_image(folder, "s3://photos/2024/red.png") is None
    assert find_image(folder, "/2024/red.png") is None and find_image(folder, "green.png") is None


def test_errors_of_this_machine_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(PermissionError), looking_at():
        raise PermissionError
    with pytest.raises(ImageSourceError, match="it cannot be read: No such file or directory"):
        read_bytes(tmp_path / "x.png")


def test_pixels_are_those_of_the_bucket(storage: Any) -> None:
    from backend.command.one_image import read_image_file

    assert np.array_equal(read_image_file(storage / "2024/red.png", 1000), np.full((6, 8, 3), (255, 0, 0), np.uint8))


def test_a_signature_is_in_no_message() -> None:
    with scripted_server() as server:
        server.answers["GET /a.png"] = (200, b"0123456789")
        for name, read in (("a.png", partial(read_at_most, most_bytes=3)), ("gone.png", read_bytes)):
            with pytest.raises(ImageSourceError) as caught:
                read(image_path(f"{server.url}/{name}?sig=hush"))
            assert f"{name}?..." in str(caught.value) and "hush" not in str(caught.value)


def test_an_image_whose_bytes_a_web_server_does_not_count_may_not_be_too_large() -> None:
    with scripted_server() as server:
        server.says_length, server.answers["GET /a.png"] = False, (200, b"0123456789")
        path = image_path(f"{server.url}/a.png")
        assert read_at_most(path, 10) == b"0123456789"
        with pytest.raises(ImageTooLargeError, match=r"a\.png has more than 9 bytes \(OVDIFF_IMAGE_MAX_BYTES\)"):
            read_at_most(path, 9)


def test_of_a_file_that_grows_no_more_is_read_than_is_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "growing.png"
    path.write_bytes(b"0123456789")
    assert read_at_most(path, 10) == b"0123456789"
    monkeypatch.setattr(Path, "stat", lambda self, **_: SimpleNamespace(st_size=3, st_mode=stat.S_IFREG))
    with pytest.raises(ImageTooLargeError, match=r"growing\.png has more than 9 bytes \(OVDIFF_IMAGE_MAX_BYTES\)"):
        read_at_most(path, 9)


def test_a_device_and_a_pipe_are_no_images(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    for path in (Path("/dev/zero"), tmp_path / "pipe.png"):
        with pytest.raises(ImageSourceError, match=f"{path} is a device or a pipe, and no image file"):
            read_at_most(path, 10)


def test_images_of_tasks_come_from_a_folder_or_a_bucket(storage: Any, tmp_path: Path) -> None:
    (tmp_path / "red.png").write_bytes(b"here")
    for folder, expected in ((storage / "2024", b"PNG"), (tmp_path, b"ere")):
        images = ImagesBelow(folder, "", ImageSettings())
        for address in ("/data/upload/1/0123abcd-red.png", "s3://elsewhere/deep/red.png", "red.png"):
            assert images.fetch(address)[1:4] == expected
        assert ImagesBelow(folder, "s3://a/", ImageSettings()).fetch("s3://a/red.png")[1:4] == expected


def test_an_image_of_a_task_that_is_not_below_or_too_large_is_said_in_words(storage: Any) -> None:
    images = ImagesBelow(storage / "2024", "", ImageSettings(image_max_bytes=20))
    with pytest.raises(ImageSourceError, match=r"its image '/data/upload/1/none\.png' is not in s3://photos/2024\."):
        images.fetch("/data/upload/1/none.png")
    with pytest.raises(ImageTooLargeError, match=r"red\.png has \d+ bytes, more than 20 \(OVDIFF_IMAGE_MAX_BYTES\)"):
        images.fetch("red.png")
    with pytest.raises(ImageSourceError, match="expected an image address that begins with 's3://a/'"):
        ImagesBelow(storage, "s3://a/", ImageSettings()).fetch("red.png")
