from pathlib import Path

from ovdiff.curation.curation import UNCURATED
from ovdiff.curation.drafts import DraftCurations
from ovdiff.curation.store import CurationStore

KEY, OTHER = "ab" * 32, "cd" * 32


def test_a_draft_begins_with_what_is_in_force_and_is_seen_by_nobody_else(tmp_path: Path) -> None:
    real = CurationStore(tmp_path)
    real.change(KEY, lambda now: now.rejecting([1], "blurred", "2026-01-01"))
    draft = DraftCurations(tmp_path)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    new = draft.change(KEY, lambda now: now.rejecting([2], "", "2026-01-02"))
    assert new.rejected_numbers() == {1, 2} == draft.of(KEY).rejected_numbers()
    draft.change(OTHER, lambda now: now.rejecting([0], "", "2026-01-02"))
    assert real.of(KEY).rejected_numbers() == {1} and real.of(OTHER) == UNCURATED
    assert set(draft.all()) == {KEY, OTHER} and set(real.all()) == {KEY}
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == files, "nothing is written"


def test_a_draft_can_take_back_what_is_in_force(tmp_path: Path) -> None:
    real, draft = CurationStore(tmp_path), DraftCurations(tmp_path)
    real.change(KEY, lambda now: now.rejecting([1], "", "2026-01-01"))
    draft.change(KEY, lambda now: now.restoring([1]))
    assert draft.of(KEY).identity() == {} and real.of(KEY).identity() != {}
    assert draft.pictures.folder == real.pictures.folder, "pictures of a draft are those of the bank"
