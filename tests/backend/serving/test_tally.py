from concurrent.futures import ThreadPoolExecutor

from backend.serving.tally import Tally


def test_counts_of_several_threads_add_up() -> None:
    tally = Tally()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: [tally.add(("a", "b")) for _ in range(1000)], range(4)))
    tally.add(("a",), 5)
    counts = tally.counts()
    assert counts == {("a", "b"): 4000, ("a",): 5}
    counts.clear()
    assert tally.counts()


def test_what_is_begun_is_there_before_it_is_counted() -> None:
    tally = Tally(("a",), ("b",))
    tally.add(("b",))
    assert tally.counts() == {("a",): 0, ("b",): 1}
