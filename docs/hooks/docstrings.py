"""Docstrings as Markdown: the few marks of reStructuredText that ours have, turned into what Markdown means by them."""

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:mod|class|func|meth|attr|data|exc|obj):`~?([^`]+)`")
_EXAMPLE = re.compile(r"^(?P<indent> *)>>> .*(?:\n(?P=indent)\S.*)*", re.MULTILINE)
_DIRECTIVE = re.compile(r" *# doctest: \+\w+")
_LITERAL = re.compile(r"^ *::\n|(?<=:):$", re.MULTILINE)


def to_markdown(docstring: str) -> str:
    """Return a docstring with its roles as code, its examples as code blocks, and without the `::` of literal blocks.

    >>> to_markdown("See :class:`ovdiff.Engine`.")
    'See `ovdiff.Engine`.'
    """
    return _EXAMPLE.sub(_code_block, _LITERAL.sub("", _ROLE.sub(r"`\1`", docstring)))


def _code_block(match: re.Match[str]) -> str:
    indent = match["indent"]
    return f"{indent}```pycon\n{_DIRECTIVE.sub('', match[0])}\n{indent}```"


class MarkdownDocstrings(griffe.Extension):
    """Gives griffe, which reads the code for the site, the docstrings as Markdown."""

    def on_object(self, *, obj: griffe.Object, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Rewrite the docstring of an object inside a package."""
        _rewrite(obj)

    def on_package(self, *, pkg: griffe.Module, loader: griffe.GriffeLoader, **kwargs: Any) -> None:
        """Rewrite the docstring of a package, which is no object inside itself."""
        _rewrite(pkg)


def _rewrite(obj: griffe.Object) -> None:
    if obj.docstring is not None and "```" not in obj.docstring.value:  # else it was rewritten before
        obj.docstring.value = to_markdown(obj.docstring.value)
