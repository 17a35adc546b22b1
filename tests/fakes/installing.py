"""Packages of other people, installed for one test: files on the path, and the entry points that pip would write."""

import shutil
import sys
import tomllib
from pathlib import Path

import pytest


def install(project: Path, site: Path) -> None:
    """Copy a project's packages to a folder of installed ones, with the metadata that its pyproject.toml asks for."""
    values = tomllib.loads((project / "pyproject.toml").read_text("utf-8"))["project"]
    for package in _packages(project):
        shutil.copytree(project / package, site / package)
    metadata = site / f"{values['name'].replace('-', '_')}-{values['version']}.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {values['name']}\nVersion: {values['version']}\n")
    groups = values.get("entry-points", {})
    lines = [
        f"[{group}]\n" + "\n".join(f"{name} = {at}" for name, at in names.items()) for group, names in groups.items()
    ]
    (metadata / "entry_points.txt").write_text("\n\n".join(lines) + "\n")


def install_here(project: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Install a project for this process, until the test ends; modules of it are imported anew by the next one."""
    install(project, site)
    monkeypatch.syspath_prepend(site)
    for name in [name for name in sys.modules if name.partition(".")[0] in _packages(project)]:
        monkeypatch.delitem(sys.modules, name)


def _packages(project: Path) -> set[str]:
    return {file.parent.name for file in project.glob("*/__init__.py")}
