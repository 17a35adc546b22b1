"""The graph of who imports whom in a checkout: what the boundary tests judge and `benchmarks.rooms` counts.

grimp reads the files without running them. It sees imports anywhere in a file: in functions, under
``if TYPE_CHECKING``, relative ones. It does not see a module that is named by a string, as ``import_module`` and
tables of ``"module:function"`` do; those are added here:

- a string ``"module:name"`` counts as an import of that module of ours, wherever it stands;
- in a file that imports by string, a string also counts that is a module's dotted name alone, or names a module of
  the file's own package (``"clip"`` in ``ovdiff/extractors/__init__.py``). Elsewhere such a string may be a logger's
  name, a group of entry points or a place of data files.

Left out: what a registry names (`REGISTRIES`).
Not seen: names that are put together from parts, as ``"ovdiff.extractors.{}:make".format(name)``.
"""

import ast
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import grimp

PACKAGES = ("backend", "ovdiff", "converters")

REGISTRIES = {"ovdiff.presets.needs"}
"""Tables that name makers by strings and import none: whoever asks for a part imports it, from a higher floor."""

_BY_STRING = {"import_module", "__import__", "resolve_name"}


def import_graph(root: Path, packages: Sequence[str] = PACKAGES) -> grimp.ImportGraph:
    """Return the imports of a checkout's packages; a package from outside is one node (``torch``). About a second.

    grimp leaves out what is no module, and its imports with it: `unseen_files` names those files.

    Raises:
        ValueError: a package is found elsewhere than in the checkout.
    """
    root = root.resolve()
    sys.path.insert(0, str(root))
    try:
        importlib.invalidate_caches()
        for package in packages:
            _require_package_in(root, package)
        first, *others = packages
        graph = grimp.build_graph(first, *others, include_external_packages=True, cache_dir=None)
    finally:
        sys.path.remove(str(root))
    _add_imports_by_string(graph, root, packages)
    return graph


def module_files(root: Path, package: str) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of each Python file of a package."""
    for path in sorted((root / package).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def unseen_files(graph: grimp.ImportGraph, root: Path, packages: Sequence[str] = PACKAGES) -> list[str]:
    """Name the Python files whose imports are not in the graph: in a folder without ``__init__.py``, mostly."""
    files = ((module, path) for package in packages for module, path in module_files(root, package))
    return [str(path.relative_to(root)) for module, path in files if module not in graph.modules]


def imports_by_string(source: str, package: str, modules: set[str]) -> dict[str, int]:
    """Return what a file names by strings, each with the line of it: modules, and packages from outside.

    Args:
        source: the file's text.
        package: the dotted name of the package that the file is in, or is.
        modules: the dotted names of all modules of ours.
    """
    nodes = list(ast.walk(ast.parse(source)))
    calls = _calls_by_string(nodes)
    found: dict[str, int] = {}
    for node in nodes:
        if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            continue
        name, colon, _ = node.value.partition(":")
        beside = f"{package}.{name.removeprefix('.')}"
        if "." in name and name in modules and (calls or colon):
            found[name] = node.lineno
        elif calls and beside in modules:
            found[beside] = node.lineno
    for call in calls:
        if call.args and isinstance(call.args[0], ast.Constant):
            name = str(call.args[0].value)
            if not name.startswith(".") and name not in modules:
                found[name.split(".")[0]] = call.lineno
    return found


def hidden_imports(source: str, package: str, modules: set[str]) -> list[int]:
    """Return the lines on which a file imports by string, if none of its strings names what it imports."""
    calls = _calls_by_string(ast.walk(ast.parse(source)))
    return [] if not calls or imports_by_string(source, package, modules) else sorted(call.lineno for call in calls)


def own_package(module: str, path: Path) -> str:
    """Return the package that a module is in, or is."""
    return module if path.name == "__init__.py" else module.rpartition(".")[0]


def _calls_by_string(nodes: Iterable[ast.AST]) -> list[ast.Call]:
    return [node for node in nodes if isinstance(node, ast.Call) and _called(node) in _BY_STRING]


def _called(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else str(getattr(call.func, "id", ""))


def _require_package_in(root: Path, package: str) -> None:
    spec = importlib.util.find_spec(package)
    found = list(spec.submodule_search_locations or ()) if spec else []
    if found != [str(root / package)]:
        raise ValueError(
            f"The package {package!r} was looked for in {root}, but Python finds {found or 'none'}. Run this from that "
            "checkout, in a Python that has not imported the package from elsewhere."
        )


def _add_imports_by_string(graph: grimp.ImportGraph, root: Path, packages: Sequence[str]) -> None:
    modules = {module for package in packages for module, _ in module_files(root, package)}
    for package in packages:
        for module, path in module_files(root, package):
            if module not in graph.modules or module in REGISTRIES:
                continue
            source = path.read_text("utf-8")
            for name, line in imports_by_string(source, own_package(module, path), modules).items():
                if name == module:
                    continue
                if name not in graph.modules:
                    graph.add_module(name, is_squashed=True)
                text = source.splitlines()[line - 1].strip()
                graph.add_import(importer=module, imported=name, line_number=line, line_contents=text)
