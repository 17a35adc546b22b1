import itertools

from ovdiff.curation.curation import UNCURATED, Ban, Curation, Exemplar, identity_summary

A, B = Exemplar("a" * 64, "a.jpg"), Exemplar("b" * 64, "b.jpg", "task 3")


def test_an_undone_curation_is_none() -> None:
    assert UNCURATED.identity() == {} and UNCURATED.summary() == ""
    ban = Ban("c" * 64, "clip", "part", 0.25)
    changed = UNCURATED.rejecting([3, 7], "blurred", "2026-01-02").adding(A).banning(ban)
    assert changed.identity()["rejected"] == [3, 7] and changed.reason(3) == "blurred"
    undone = changed.restoring([7, 3]).without_exemplar(A).without_ban(ban)
    assert undone == UNCURATED and undone.identity() == {}


def test_only_what_changes_arrays_counts_and_the_order_does_not() -> None:
    steps = [
        lambda now: now.rejecting([2], "why", "today"),
        lambda now: now.rejecting([1], "", ""),
        lambda now: now.adding(A),
        lambda now: now.adding(B),
    ]
    found = []
    for order in itertools.permutations(steps):
        now = UNCURATED
        for step in order:
            now = step(now)
        found.append(now.identity())
    assert all(each == found[0] for each in found)
    told = Curation("Boat", ("ship",), "paper").rejecting([1, 2], "another reason", "tomorrow")
    renamed = told.adding(Exemplar(A.pictures, "renamed")).adding(B)
    assert renamed.identity() == found[0] and renamed.summary() == "2 rejected, 2 exemplars"
    assert renamed.restoring([1]).identity() != found[0] != renamed.without_exemplar(B).identity()


def test_a_newer_reason_replaces_an_older_one() -> None:
    twice = UNCURATED.rejecting([4], "dark", "").rejecting([4], "cut off", "")
    assert [item.why for item in twice.rejected] == ["cut off"]


def test_what_is_not_drawn_counts_even_without_exemplars() -> None:
    assert Curation(draw=False).identity() and Curation(draw=False).summary() == "nothing drawn"


def test_a_card_says_the_same() -> None:
    one = UNCURATED.rejecting([0], "", "").adding(A).banning(Ban("c" * 64))
    assert identity_summary(one.identity()) == one.summary() == "1 rejected, 1 exemplar, 1 ban"
    assert identity_summary({}) == ""
