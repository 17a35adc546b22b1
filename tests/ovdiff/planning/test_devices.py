import pytest

from ovdiff.errors import PlanError
from ovdiff.planning.devices import device_names, published


def test_every_device_has_a_source_and_figures_that_can_be() -> None:
    cards = [card for name in device_names() if (card := published(name)) is not None]
    assert len(cards) == len(device_names()) - 1  # the CPU has none: its stages were measured
    for card in cards:
        assert card.source and card.half > card.float32 > 1
        assert card.bandwidth_gb_s >= 300 and card.memory_gb >= 16


def test_a_name_may_be_written_in_any_case() -> None:
    assert published("h100") == published("H100")
    assert published("cpu") is None


def test_rates_are_by_precision() -> None:
    card = published("A100")
    assert card is not None
    assert (card.tflop_per_s("half"), card.tflop_per_s("float32")) == (312, 19.5)


def test_an_unknown_device_names_the_known_ones() -> None:
    with pytest.raises(PlanError, match=r"Nothing is known of a device 'H300'; expected one of H100, .*CPU"):
        published("H300")
