import pytest

from docs.hooks.docstrings import to_markdown


@pytest.mark.parametrize(
    ("docstring", "markdown"),
    [
        ("See :class:`ovdiff.Engine` and :mod:`ovdiff.api`.", "See `ovdiff.Engine` and `ovdiff.api`."),
        ("The tree.\n\n::\n\n    A\n", "The tree.\n\n\n    A\n"),
        ("It is::\n\n    A\n", "It is:\n\n    A\n"),
        ("Call\n\n>>> f(1)    # doctest: +SKIP\n2\n\nend", "Call\n\n```pycon\n>>> f(1)\n2\n```\n\nend"),
        ("Plain `code` stays: a::b.", "Plain `code` stays: a::b."),
    ],
)
def test_marks_of_restructured_text_become_markdown(docstring: str, markdown: str) -> None:
    assert to_markdown(docstring) == markdown
