import pytest

from backend.sources.upload_addresses import is_upload
from backend.sources.web_url import WebUrl


@pytest.mark.parametrize(
    "target",
    [
        "/data/upload/3/1f2e3d4c-boat.jpg",
        "/data/upload/31/1f2e3d4c-a%20boat%20(2).jpg",
        "/data/upload/3/1f2e3d4c-boat.jpg?width=100",
        "/storage-data/uploaded/?filepath=upload/3/1f2e3d4c-boat.jpg",
        "/storage-data/uploaded/?filepath=upload%2F3%2F1f2e3d4c-boat.jpg",
    ],
)
def test_the_addresses_of_uploads_are_known(target: str) -> None:
    assert is_upload(WebUrl.parse(f"http://ls:8080{target}"))
    assert is_upload(WebUrl.parse(f"http://ls:8080/studio{target}"), "/studio")
    assert not is_upload(WebUrl.parse(f"http://ls:8080/studio{target}"))
    assert not is_upload(WebUrl.parse(f"http://ls:8080{target}"), "/studio")


@pytest.mark.parametrize(
    "target",
    [
        "/data/upload/3/boat.jpg",  # somebody laid it there
        "/data/upload/3/1F2E3D4C-boat.jpg",
        "/data/upload/3/1f2e3d4-boat.jpg",
        "/data/upload/3/1f2e3d4c-/../../boat.jpg",
        "/data/upload/3/1f2e3d4c-x%2F..%2Fboat.jpg",
        "/data/upload/3/1f2e3d4c-x%5Cboat.jpg",
        "/data/upload/1f2e3d4c-boat.jpg",
        "/data/upload/x/1f2e3d4c-boat.jpg",
        "/data/local-files/?d=upload/3/1f2e3d4c-boat.jpg",
        "/data/upload/3/1f2e3d4c-folder/boat.jpg",
        "/storage-data/uploaded/?filepath=avatars/3/1f2e3d4c-boat.jpg",
        "/storage-data/uploaded/?other=upload/3/1f2e3d4c-boat.jpg",
        "/tasks/5/presign/?fileuri=upload/3/1f2e3d4c-boat.jpg",
    ],
)
def test_what_somebody_may_replace_under_its_name_is_none(target: str) -> None:
    assert not is_upload(WebUrl.parse(f"http://ls:8080{target}"))
