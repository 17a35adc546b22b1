from pathlib import Path

import pytest

from docs.hooks.foreign import foreign_loads, foreign_loads_of_site


@pytest.mark.parametrize(
    "tag",
    [
        '<script src="https://cdn.example/a.js"></script>',
        '<link rel="stylesheet" href="//fonts.example/a.css">',
        '<link rel="preconnect" href="https://fonts.example">',
        '<img src="https://example.org/a.png"/>',
        "<style>@import 'https://fonts.example/a.css'</style>",
        '<p style="background: url(https://example.org/a.png)">',
        '<iframe src="http://example.org"></iframe>',
    ],
)
def test_what_a_page_would_load_from_another_host_is_found(tag: str) -> None:
    (address,) = foreign_loads(f"<html><body>{tag}</body></html>")
    assert "example" in address


@pytest.mark.parametrize(
    "tag",
    [
        '<a href="https://example.org">a link</a>',
        '<link rel="canonical" href="https://example.org/a">',
        '<script src="assets/a.js"></script>',
        "<code>@import 'https://fonts.example/a.css'</code>",
    ],
)
def test_links_and_own_files_are_fine(tag: str) -> None:
    assert foreign_loads(f"<html><body><style>p {{}}</style>{tag}</body></html>") == []


def test_pages_and_style_sheets_of_a_site_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/a.css").write_text("p { src: url('https://fonts.example/a.woff') }")
    (tmp_path / "a.html").write_text('<img src="https://example.org/a.png">')
    (tmp_path / "b.html").write_text('<img src="a.png">')
    assert foreign_loads_of_site(tmp_path) == [
        "a.html loads https://example.org/a.png",
        "sub/a.css loads https://fonts.example/a.woff",
    ]
