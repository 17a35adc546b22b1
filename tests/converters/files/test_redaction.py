"""What gives access is cut out of addresses, and nothing else is."""

import pytest

from converters.files.redaction import without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("s3://AKIA:hush@bucket/a.png", "s3://...@bucket/a.png"),
        ("s3://AKIA:hu/sh@bucket/a.png", "s3://...@bucket/a.png"),
        ("s3://AKIA:1/hu/sh@bucket", "s3://...@bucket"),
        ("gs://AKIA:hu/sh@bucket", "gs://...@bucket"),
        ("s3://AKIA:1hu/sh@bucket", "s3://...@bucket"),
        ("s3://AKIA:hu@sh@bucket/a.png", "s3://...@bucket/a.png"),
        ("HTTPS://u:hush@host/a.png", "HTTPS://...@host/a.png"),
        ("'https:/u:hush@host/a.png': no such file", "'https:/...@host/a.png': no such file"),
        ("abfs://container:hush@account/a", "abfs://...@account/a"),
        ("it: 's3://k:hu/sh@b/a.png', of s3://c/d.png", "it: 's3://...@b/a.png', of s3://c/d.png"),
        ("https://h/a.png?X-Amz-Date=1&X-Amz-Signature=hush&e=1", "https://h/a.png?..."),
        ("https://h/a.png?sv=1&sig=hush", "https://h/a.png?..."),
        ("https://h/a.png?AWSAccessKeyId=hush&Expires=1", "https://h/a.png?..."),
        ("/data/a.png?token=hush", "/data/a.png?token=..."),
        ("https://h/i?id=7&api_key=hush&w=2", "https://h/i?id=7&api_key=...&w=2"),
        ("https://h/i?key=hush", "https://h/i?key=..."),
        ("https://h/i?api_key=hush.png", "https://h/i?api_key=..."),
        ("https://h/i?apikey=hush.png", "https://h/i?apikey=..."),
        ("cannot read 'https://h/a?x-goog-signature=hush': no", "cannot read 'https://h/a?...': no"),
    ],
)
def test_secrets_are_cut(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "s3://bucket/photo@2x.png",
        "http://localhost:9000/bucket/photo@2x.png",
        "hdfs://node:8020/user/me@home/a.png",
        "http://localhost:8080: nothing answers; ask me@example.org",
        "http://host/data/local-files/?d=photos/monkey.png",
        "row 1, 'https://h/image?key=cats/1.jpg&w=64': no; nor https://h/image?image_key=2.png, nor that",
        "https://h/a.png?design=1&monkey=2&w=640",
        "abfs://container@account.dfs.core.windows.net/bank",
        "C:/me@home/a.png",
        "a.png",
        "https://h/why?",
    ],
)
def test_all_else_stays(text: str) -> None:
    assert without_secrets(text) == text
