from pathlib import Path

import pytest

from backend.command import cli
from tests.backend.command.conftest import run_prototypes


def test_a_word_goes_to_another_bank_in_a_file(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_prototypes(capsys, "reject", "boat", "1", "--why", "blurred")
    said = run_prototypes(capsys, "export", "boat.zip", "boat")
    assert said[0].startswith("boat.zip: 1 prototype sets, ") and said[0].endswith("LICENCES.txt lists the terms")
    assert run_prototypes(capsys, "import", "boat.zip", "--bank", "other") == [
        "added: boat",
        "curated as in the file from now on: boat",
    ]
    assert "blurred" in run_prototypes(capsys, "curation", "boat", "--bank", "other")[1]
    assert run_prototypes(capsys, "import", "boat.zip", "--bank", "other") == [
        "added: nothing",
        "there already, and left as they are: boat",
    ]
    assert run_prototypes(capsys, "diff", "data/bank", "other") == ["the same in both: 1 sets"]


def test_what_cannot_be_carried_is_said(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run_prototypes(capsys, "export", "boat.zip")
    for arguments, status, said in (
        (["import", "boat.zip", "--preset", "tinyworld", "--bank", "other"], 1, "was made otherwise than this preset"),
        (["import", "quick.toml", "--bank", "other"], 1, "quick.toml cannot be imported"),
        (["export", "fish.zip", "fish"], 2, "No prototypes of 'fish'"),
        (["export", "none.zip", "--bank", "other"], 2, "There are no prototypes in other to export"),
    ):
        assert cli.main(["prototypes", *arguments]) == status
        assert said in capsys.readouterr().err
    assert not Path("other").exists()
    assert not Path("fish.zip").exists()
