"""Which addresses name the same image: signatures and quoting do not count, all else does."""

import pytest

from backend.command.manifest.image_identity import image_identity, image_name, without_signature

AWS = "X-Amz-Algorithm=a&X-Amz-Credential=me/2026&X-Amz-Date=1&X-Amz-Signature=hush"
AZURE = "sv=1&st=2&se=3&sr=b&sp=r&sig=hush"


@pytest.mark.parametrize(
    ("address", "bare"),
    [
        (f"https://h/a.png?{AWS}", "https://h/a.png"),
        (f"https://h/a.png?versionId=3&{AWS}&w=640#top", "https://h/a.png?versionId=3&w=640#top"),
        (f"https://h/a.png?{AZURE}&snapshot=1", "https://h/a.png?snapshot=1"),
        ("https://h/a.png?AWSAccessKeyId=me&Signature=hush&Expires=1", "https://h/a.png"),
        ("https://h/a.png?Expires=1&Policy=p&Signature=hush&Key-Pair-Id=me", "https://h/a.png"),
        ("/image?file=a&signature=hush", "/image?file=a"),
    ],
)
def test_what_a_signer_wrote_is_left_out(address: str, bare: str) -> None:
    assert without_signature(address) == bare
    assert image_identity(address) == image_identity(bare)


@pytest.mark.parametrize(
    "address",
    ["https://h/i?key=a.jpg", "https://h/i?token=1", "https://h/i?st=1&se=2&expires=3", "s3://b/why?sig=1", "a?sig=1"],
)
def test_all_else_stays(address: str) -> None:
    assert without_signature(address) == address


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("https://h/i?key=cats/1.jpg", "https://h/i?key=cats/2.jpg"),
        ("https://h/i?file_key=1", "https://h/i?file_key=2"),
        ("https://h/share?token=1", "https://h/share?token=2"),
        ("/data/local-files/?d=a+b.png", "/data/local-files/?d=a%2Bb.png"),
        ("/data/local-files/?d=a&b.png", "/data/local-files/?d=a%26b.png"),
        ("/data/local-files/?d=a#b.png", "/data/local-files/?d=a%23b.png"),
        ("https://h/a%2520b.png", "https://h/a%20b.png"),
        ("s3://b/a b.png", "s3://b/a%20b.png"),
        ("http://[/a", "http://[/b"),
    ],
)
def test_other_images_are_others(first: str, second: str) -> None:
    assert image_identity(first) != image_identity(second)
    assert image_name(first) != image_name(second)


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("/data/local-files/?d=photos/a%20b.png", "/data/local-files/?d=photos/a b.png"),
        ("/data/local-files/?d=photos%2Fa.png", "/data/local-files/?d=photos/a.png"),
        ("https://h/a%20b.png", f"https://h/a b.png?{AWS}"),
    ],
)
def test_quoting_does_not_count(first: str, second: str) -> None:
    assert image_identity(first) == image_identity(second)


def test_a_name_holds_no_secret() -> None:
    names = [image_name(f"https://me:hush@h/share?id=3&token=hush{number}") for number in (1, 2)]
    assert names == ["https://...@h/share?id=3&token=eb011f9c", "https://...@h/share?id=3&token=95bfbc24"]
    assert image_name("photos/a b.png") == "photos/a b.png"
