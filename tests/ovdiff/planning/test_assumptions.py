import pytest

from ovdiff.errors import PlanError
from ovdiff.planning.assumptions import Assumptions, assume


def test_every_assumption_has_a_unit_an_origin_and_a_reason() -> None:
    rows = Assumptions().rows()
    assert len(rows) > 10
    for row in rows:
        assert row["unit"] and row["reason"] and row["origin"] in ("published", "assumed")


def test_some_can_be_replaced_and_the_others_stay() -> None:
    found = assume(["network_gbit=100", "slow_share=0"])
    assert (found.network_gbit, found.slow_share) == (100, 0)
    assert found.image_kb == Assumptions().image_kb


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("speed=3", "There is no assumption 'speed'; there are share_of_peak, "),
        ("network_gbit=fast", "The assumption network_gbit is 'fast'; expected a number from 0.001, in Gbit/s a node"),
        ("slow_share=2", "The assumption slow_share is '2'; expected a number from 0 to 1, in of the GPUs"),
        ("prefixes=nan", "The assumption prefixes is 'nan'; expected a number from 1"),
        ("prefixes=inf", "The assumption prefixes is 'inf'; expected a number from 1"),
        ("prefixes", "The assumption prefixes is ''; expected a number from 1"),
    ],
)
def test_a_wrong_one_is_refused_in_words(change: str, message: str) -> None:
    with pytest.raises(PlanError) as caught:
        assume([change])
    assert str(caught.value).startswith(message)


def test_failures_are_those_of_the_source() -> None:
    assert Assumptions().failures_per_s * 3600 * 16384 * 54 * 24 == pytest.approx(419)


def test_the_mean_speed_counts_slow_devices() -> None:
    assert Assumptions(slow_share=0.5, slow_factor=2).mean_speed == pytest.approx(0.75)
