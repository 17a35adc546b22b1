import hashlib
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from ovdiff.bank.card import Card
from ovdiff.bank.files import Bank, _pack
from ovdiff.bank.judgement import Judgement
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
from ovdiff.bank.recipe import SCHEMA_VERSION
from ovdiff.errors import BankCorruptError, BankError

KEY = "ab" * 32
FINITE = {"allow_nan": False, "allow_infinity": False}


def _side(count: int, depth: int = 4, seed: int = 0) -> Prototypes:
    vectors = np.random.default_rng(seed).normal(size=(count, depth)).astype(np.float16).astype(np.float32)
    return Prototypes(vectors, np.zeros(count, np.uint8), np.arange(count, dtype=np.int32))


def _set(seed: int = 0) -> PrototypeSet:
    return PrototypeSet({"clip": FeatureSpacePrototypes(_side(3, seed=seed), _side(0))})


def test_a_set_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    bank = Bank(tmp_path / "bank")
    assert bank.keys() == () and not bank.has(KEY)
    bank.save(KEY, _set(), Card("Boot"))
    found = bank.load(KEY).spaces["clip"]
    np.testing.assert_array_equal(found.foreground.vectors, _set().spaces["clip"].foreground.vectors)
    np.testing.assert_array_equal(found.foreground.images, [0, 1, 2])
    assert found.background.vectors.shape == (0, 4)
    assert bank.keys() == (KEY,) and bank.has(KEY)
    assert (
        bank.card(KEY).category == "Boot"
        and bank.card(KEY).schema_version == SCHEMA_VERSION
        and bank.card(KEY).key == KEY
    )


def test_a_judgement_is_written_into_the_card_and_the_set_stays_whole(tmp_path: Path) -> None:
    bank, judgement = Bank(tmp_path / "bank"), Judgement(8, 1, -0.5, "mug", 5, 0.5, "fake")
    bank.judge(KEY, judgement)
    assert not bank.folder.exists()  # of a set that is not there, nothing is written
    bank.save(KEY, _set(), Card("crab"))
    before = bank.card(KEY)
    bank.judge(KEY, judgement)
    assert bank.has(KEY) and Bank(bank.folder).has(KEY)
    assert bank.card(KEY) == replace(before, judgement=judgement)
    bank.remove(KEY)
    bank.judge(KEY, judgement)
    assert list(bank.folder.iterdir()) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=25, deadline=None)
@given(
    vectors=npst.arrays(
        np.float16,
        st.tuples(st.integers(0, 5), st.integers(1, 4)),
        elements=FINITE,
    )
)
def test_any_finite_half_precision_vectors_come_back_exactly(tmp_path: Path, vectors: np.ndarray) -> None:
    count = len(vectors)
    side = Prototypes(vectors.astype(np.float32), np.ones(count, np.uint8), np.full(count, -1, np.int32))
    bank = Bank(tmp_path)
    bank.save(KEY, PrototypeSet({"dino": FeatureSpacePrototypes(side, side)}), Card())
    np.testing.assert_array_equal(bank.load(KEY).spaces["dino"].background.vectors, side.vectors)


def test_equal_sets_give_equal_files(tmp_path: Path) -> None:
    for name in ("first", "second"):
        Bank(tmp_path / name).save(KEY, _set(), Card("boat", phrases=("boat",)))
    for suffix in (".json", ".safetensors"):
        assert (tmp_path / "first" / f"{KEY}{suffix}").read_bytes() == (
            tmp_path / "second" / f"{KEY}{suffix}"
        ).read_bytes()


@pytest.mark.parametrize("damage", ["flip", "cut", "gone", "card"])
def test_damage_is_named_counts_as_absent_and_heals_by_saving(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bank = Bank(tmp_path)
    bank.save(KEY, _set(), Card())
    assert bank.has(KEY)
    tensors, card = tmp_path / f"{KEY}.safetensors", tmp_path / f"{KEY}.json"
    data = bytearray(tensors.read_bytes())
    if damage == "flip":
        data[-1] ^= 1
        tensors.write_bytes(data)
        os.utime(tensors, ns=(1, 1))  # a clock that stands still must not hide it
    elif damage == "cut":
        tensors.write_bytes(data[:-3])
    elif damage == "gone":
        tensors.unlink()
    else:
        card.write_text("{")
    with pytest.raises(BankCorruptError, match=KEY[:8]) as caught:
        bank.load(KEY)
    assert caught.value.path == (card if damage == "card" else tensors)
    assert not bank.has(KEY)
    assert "damaged" in caplog.text
    bank.save(KEY, _set(), Card())
    assert bank.has(KEY) and bank.load(KEY).spaces.keys() == {"clip"}


def test_right_checksum_over_wrong_contents_is_corrupt(tmp_path: Path) -> None:
    data = b"\x00" * 20
    (tmp_path / f"{KEY}.safetensors").write_bytes(data)
    (tmp_path / f"{KEY}.json").write_text(json.dumps({"sha256": hashlib.sha256(data).hexdigest()}))
    with pytest.raises(BankCorruptError, match="not a prototype set"):
        Bank(tmp_path).load(KEY)


def test_a_crash_before_the_card_leaves_the_old_set_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bank = Bank(tmp_path)

    def refuse(_self: Path, _target: Path) -> None:
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(BankError, match="disk full"):
            bank.save(KEY, _set(), Card())
    assert list(tmp_path.iterdir()) == []
    assert not bank.has(KEY)
    bank.save(KEY, _set(), Card())
    assert bank.has(KEY)


def test_what_killed_builds_left_goes_with_a_later_one(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    old, new = (tmp_path / f".{KEY[:50]}.{digit * 16}.partial" for digit in "01")
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    bank.save("cd" * 32, _set(), Card())
    assert new.exists() and not old.exists()  # the new one may belong to a build that is running


def test_a_stored_set_may_be_read_by_whom_the_umask_allows(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        Bank(tmp_path).save(KEY, _set(), Card())
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o644}


SAVE_OFTEN = """
import sys
from dataclasses import replace
from pathlib import Path
import numpy as np
from ovdiff.bank import Bank
from ovdiff.bank.card import Card
from ovdiff.bank.prototypes import FeatureSpacePrototypes, Prototypes, PrototypeSet
key, value = sys.argv[2], float(sys.argv[3])
side = Prototypes(np.full((500, 40), value, np.float32), np.zeros(500, np.uint8), np.zeros(500, np.int32))
for _ in range(60):
    prototypes = PrototypeSet({"clip": FeatureSpacePrototypes(side, side)})
    Bank(Path(sys.argv[1])).save(key, prototypes, Card(image_seeds=(int(value),)))
"""


def test_processes_that_save_one_set_at_once_leave_it_whole_at_every_moment(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.save(KEY, _set(), Card())
    writers = [
        subprocess.Popen([sys.executable, "-c", SAVE_OFTEN, str(tmp_path), KEY, value]) for value in ("1.0", "2.0")
    ]
    reads = 0
    while any(writer.poll() is None for writer in writers):
        bank.load(KEY)  # raises where the two files are of different builds
        reads += 1
    assert [writer.returncode for writer in writers] == [0, 0] and reads > 20
    vectors = bank.load(KEY).spaces["clip"].foreground.vectors
    assert (vectors == bank.card(KEY).image_seeds[0]).all()


def test_what_does_not_fit_half_precision_is_refused(tmp_path: Path) -> None:
    side = Prototypes(np.full((1, 2), 1e6, np.float32), np.zeros(1, np.uint8), np.zeros(1, np.int32))
    with pytest.raises(BankError, match="foreground prototypes of clip do not fit float16"):
        Bank(tmp_path).save(KEY, PrototypeSet({"clip": FeatureSpacePrototypes(side, side)}), Card())
    assert list(tmp_path.iterdir()) == []


def test_remove_and_absent_sets(tmp_path: Path) -> None:
    bank = Bank(tmp_path)
    bank.save(KEY, _set(), Card())
    bank.remove(KEY)
    bank.remove(KEY)
    assert bank.keys() == () and list(tmp_path.iterdir()) == []
    with pytest.raises(BankError, match="Build its category first"):
        bank.load(KEY)
    with pytest.raises(BankError, match="Build its category first"):
        bank.card(KEY)


def test_a_key_is_never_a_path(tmp_path: Path) -> None:
    with pytest.raises(BankError, match="not a prototype key"):
        Bank(tmp_path).has("../secrets")


def test_other_files_in_the_folder_are_no_sets(tmp_path: Path) -> None:
    (tmp_path / "notes.json").write_text("{}")
    (tmp_path / f"{KEY}.json").write_text("{}")
    assert Bank(tmp_path).keys() == ()


@pytest.mark.parametrize(
    ("field", "wrong", "told"),
    [
        ("vectors", np.full((3, 4), np.nan, np.float16), "not all numbers"),
        ("vectors", np.zeros((3, 4), np.int32), "not all numbers"),
        ("vectors", np.zeros((3, 5), np.float16), "of different dimensions"),
        ("kinds", np.full(3, 200, np.uint8), "a kind of prototype that there is not; there are class, instance, part"),
        ("images", np.zeros((3, 1), np.int32), "of different lengths"),
    ],
)
def test_arrays_that_match_their_card_and_are_no_prototypes_are_refused(
    field: str, wrong: np.ndarray, told: str
) -> None:
    """An archive from elsewhere may hold anything."""
    from safetensors.numpy import save

    arrays = _pack(PrototypeSet({"clip": FeatureSpacePrototypes(_side(3), _side(3))}))
    good, bad = save(arrays), save({**arrays, f"clip.foreground.{field}": wrong})
    Bank.check(good, Card(sha256=hashlib.sha256(good).hexdigest()), Path("there"))
    with pytest.raises(BankCorruptError, match=told):
        Bank.check(bad, Card(sha256=hashlib.sha256(bad).hexdigest()), Path("there"))
