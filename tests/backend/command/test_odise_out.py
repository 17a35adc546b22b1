import json
from pathlib import Path

import pytest

from backend.command.odise_out import CHECKPOINT, DATA, named_folder, require_no_other_head
from backend.errors import UsageError


def test_a_folder_has_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "sub")
    assert named_folder(Path()) == tmp_path / "sub" and named_folder(Path("..")) == tmp_path
    assert named_folder(Path("head")) == Path("head")
    with pytest.raises(UsageError, match="--out / is the root of the disk"):
        named_folder(Path("/"))


def test_a_head_of_another_origin_is_not_replaced(tmp_path: Path) -> None:
    """Whoever had deleted the folder of a finished training, as it is told, lost its head to the next one."""
    card = tmp_path / "head.json"
    require_no_other_head(tmp_path, DATA, "1f2e")  # there is none
    card.write_text("{")
    require_no_other_head(tmp_path, DATA, "1f2e")  # nor one that could be used
    card.write_text(json.dumps({"labels": [], "architecture": {}, "training": {"data": "1f2e"}}))
    require_no_other_head(tmp_path, DATA, "1f2e")
    for origin, value in ((DATA, "3d4c"), (CHECKPOINT, "released.pth")):
        with pytest.raises(UsageError, match=r"holds a head that was made from something else.*Give another folder"):
            require_no_other_head(tmp_path, origin, value)
