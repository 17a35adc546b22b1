"""Which libraries a file brings in when it is imported, found without importing it."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]


@cache
def imported_libraries(path: Path) -> frozenset[str]:
    """Return the top-level names of what a file imports, directly or through files of this project.

    Imports inside functions and those for type checkers alone are left out: they do not run with the file.
    """
    found: set[str] = set()
    seen: set[Path] = set()
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file in seen:
            continue
        seen.add(file)
        for name in _imported_names(file):
            found.add(name.partition(".")[0])
            waiting += _own_files(name)
    return frozenset(found)


@cache
def _imported_names(file: Path) -> frozenset[str]:
    """Return the dotted names that a file's top level imports; of `from a import b` both `a` and `a.b`."""
    names = set()
    for statement in _imports(ast.parse(file.read_text("utf-8")).body):
        if isinstance(statement, ast.Import):
            names |= {alias.name for alias in statement.names}
        elif statement.module and not statement.level:
            names |= {statement.module, *(f"{statement.module}.{alias.name}" for alias in statement.names)}
    return frozenset(names)


def _imports(body: list[ast.stmt]) -> Iterator[ast.Import | ast.ImportFrom]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement
        elif isinstance(statement, ast.Try | ast.With) or (isinstance(statement, ast.If) and not _for_types(statement)):
            yield from _imports(statement.body)


def _for_types(statement: ast.If) -> bool:
    return "TYPE_CHECKING" in ast.unparse(statement.test)


@cache
def _own_files(name: str) -> tuple[Path, ...]:
    """Return the files of this project that importing a dotted name runs: the module's and its packages'."""
    parts = name.split(".")
    prefixes = [ROOT.joinpath(*parts[:length]) for length in range(1, len(parts) + 1)]
    found = [file for prefix in prefixes for file in (prefix.with_suffix(".py"), prefix / "__init__.py")]
    return tuple(file for file in found if file.is_file())
