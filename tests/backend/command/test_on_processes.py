import argparse
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from backend.command import cli
from backend.command.arguments.workers import processes_of
from backend.command.on_processes import OnProcesses
from backend.command.plan import Wanted, make_plan
from backend.command.prototypes import read_categories
from backend.command.segment import segment_images
from backend.errors import RequestError
from backend.settings import Settings
from ovdiff.bank import Bank
from tests.fakes.engine import FakeEngine
from tests.fakes.pictures import red_and_blue


def stand_in(preset: Any, bank: Bank, device: str) -> FakeEngine:
    """Make the engine of a process."""
    assert device == "cpu+resident"
    return FakeEngine(bank.folder, preset.name)


def test_processes_give_the_bytes_of_this_one(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(9):
        Image.fromarray(red_and_blue()[: 40 + number]).save(tmp_path / "photos" / f"{number}.png")
    (tmp_path / "photos" / "4.png").write_text("no picture")
    written = []
    for name, count in (("here", 0), ("there", 2)):
        out, engine = tmp_path / name, FakeEngine(tmp_path / f"bank-{name}")
        plan = make_plan([tmp_path / "photos"], Wanted(out, indexed=True, coco=out / "masks.json"))
        processes = OnProcesses(count, Bank(engine.folder), "cpu+resident", stand_in) if count else None
        with pytest.raises(RequestError, match="1 of 9 images could not be segmented"):
            segment_images(plan, read_categories("red, blue"), engine, max_px=10_000, processes=processes)
        assert sorted(engine.built) == ["blue", "red"], "prototypes are made once, in this process"
        assert engine.segmented == (0 if processes else 8)
        files = sorted(file for file in out.rglob("*") if file.is_file())
        written.append({file.relative_to(out).as_posix(): file.read_bytes() for file in files})
    assert len(written[0]) == 8 * 2 + 1 and written[0] == written[1]


@pytest.mark.parametrize(
    ("asked", "images", "count"), [(None, 9, None), (1, 9, None), (3, 9, 3), (3, 2, 2), (3, None, 3)]
)
def test_no_more_processes_than_images(asked: int | None, images: int | None, count: int | None) -> None:
    options = argparse.Namespace(workers=asked, ray=None, bank=Path("b"), device="cpu+resident")
    found = processes_of(options, Settings(), images)
    assert (found and (found.count, found.device)) == (count and (count, "cpu+resident"))


@pytest.mark.parametrize("images", [["photo.png"], ["--manifest", "rows.jsonl", "--out", "shards"]])
def test_processes_or_a_cluster(
    images: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.fromarray(red_and_blue()).save("photo.png")
    Path("rows.jsonl").write_text('{"image": "photo.png"}\n')
    assert cli.main(["segment", *images, "--categories", "boat", "--workers", "2", "--ray", "auto"]) == 2
    assert "--workers 2 are processes of this machine, and --ray auto has engines" in capsys.readouterr().err
