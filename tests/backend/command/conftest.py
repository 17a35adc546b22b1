"""A bank in which one word is built on the embedded models, for tests of commands that change what it means."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from backend.command import cli

PRESET = 'base = "tinyworld"\nname = "quick"\n[generation]\nimages = 2\nsteps = 2\n[extractors]\nuse = ["clip"]\n'
PRESET += '[matching]\nextractors = ["clip"]\n'


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a preset, a bank in which boat is built, and a photograph with a mask."""
    folder = tmp_path_factory.mktemp("built")
    (folder / "quick.toml").write_text(PRESET)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("OVDIFF_DATA_DIR", str(folder / "data"))
        assert cli.main(["prototypes", "build", "boat", "--preset", "quick.toml"]) == 0
    rows, columns = np.mgrid[:90, :120]
    Image.fromarray(np.stack([rows, columns, rows + columns], axis=2).astype(np.uint8)).save(folder / "photo.jpg")
    mask = (rows - 45) ** 2 + (columns - 60) ** 2 < 600
    Image.fromarray(mask.astype(np.uint8) * 255).save(folder / "mask.png")
    return folder


@pytest.fixture
def here(built: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of that folder, which is the current one."""
    folder = shutil.copytree(built, tmp_path / "here")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("OVDIFF_DATA_DIR", str(folder / "data"))
    monkeypatch.setenv("OVDIFF_PRESET", "quick.toml")
    return folder


def run_prototypes(capsys: pytest.CaptureFixture[str], *arguments: str) -> list[str]:
    """Run `ovdiff prototypes` with arguments, which must work; return the lines that it said."""
    capsys.readouterr()
    status = cli.main(["prototypes", *arguments])
    said = capsys.readouterr()
    assert status == 0, said.err
    return said.out.splitlines()
