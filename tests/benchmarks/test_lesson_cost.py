from benchmarks.lesson_cost import summary


def test_figures_are_summed_up_over_scenes() -> None:
    found = summary([{"take_s": 3.0, "kib": 1.0}, {"take_s": 1.0, "kib": 9.0}, {"take_s": 2.0, "kib": 2.0}])
    assert found == {
        "take_s": {"least": 1.0, "median": 2.0, "most": 3.0},
        "kib": {"least": 1.0, "median": 2.0, "most": 9.0},
    }
