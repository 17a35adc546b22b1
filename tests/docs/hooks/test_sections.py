import pytest

from docs.hooks.sections import SectionError, replace_directives, section, slug, with_page_links

TEXT = """# House

Intro.

## Rooms

One.

### Kitchen

```bash
# no heading
```

## Garden

Green.
"""
PAGES = {"README.md": "index.md", "README.md#rooms": "rooms.md", "docs/a.png": "a.png", "sub/README.md": "sub.md"}


def test_a_section_ends_at_the_next_heading_of_its_level_and_its_headings_are_raised() -> None:
    assert section(TEXT, "Rooms") == "One.\n\n## Kitchen\n\n```bash\n# no heading\n```\n"
    assert section(TEXT, "Garden") == "Green.\n"
    assert section(TEXT, "House") == "Intro.\n"


def test_a_heading_that_is_not_there_is_named_with_those_that_are() -> None:
    with pytest.raises(SectionError, match="no heading 'Cellar'; there are House, Rooms, Kitchen, Garden"):
        section(TEXT, "Cellar")


@pytest.mark.parametrize(
    ("file", "link", "page"),
    [
        ("README.md", "docs/a.png", "a.png"),
        ("README.md", "#rooms", "rooms.md"),
        ("README.md", "#garden", "index.md"),
        ("sub/README.md", "../README.md#rooms", "rooms.md"),
        ("sub/README.md", "../docs/a.png", "a.png"),
        ("README.md", "docs/presets.md", "presets.md"),
        ("README.md", "docs/presets.md#memory", "presets.md#memory"),
        ("README.md", "https://example.org", "https://example.org"),
    ],
)
def test_links_between_files_become_links_between_pages(file: str, link: str, page: str) -> None:
    assert with_page_links(f"see [it]({link}).", file, PAGES) == f"see [it]({page})."


def test_a_link_to_no_page_is_refused_but_code_is_left_alone() -> None:
    with pytest.raises(SectionError, match=r"README.md links to 'setup.py', which is no page"):
        with_page_links("[it](setup.py)", "README.md", PAGES)
    code = "```\na[0](x)\n```\n"
    assert with_page_links(code, "README.md", PAGES) == code


def test_only_a_line_of_its_own_is_a_directive() -> None:
    page = "A\n<!-- site: one two -->\n`<!-- site: three -->`\n"
    assert replace_directives(page, str.upper) == "A\nONE TWO\n`<!-- site: three -->`\n"


def test_anchors_are_github_s() -> None:
    assert slug("`ovdiff/`, the method") == "ovdiff-the-method"
