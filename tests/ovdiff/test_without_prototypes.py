from dataclasses import dataclass

from ovdiff.engines.contract import Builder
from ovdiff.errors import WeightsError
from ovdiff.vocabulary import Category
from ovdiff.without_prototypes import WithoutPrototypes


@dataclass(frozen=True)
class Plain:
    name: str = "plain"

    def fingerprint(self) -> str:
        return self.name


class Quick(WithoutPrototypes):
    def __init__(self, preset: Plain, identity: str = "") -> None:
        self.preset, self.identity = preset, identity

    def weights(self) -> dict[str, str]:
        if not self.identity:
            raise WeightsError("The weights are missing.")
        return {"clip": self.identity}


def test_nothing_is_prepared_and_that_is_reported() -> None:
    told: list[tuple[str, float]] = []
    engine = Quick(Plain())
    engine.build(Category("boat"), lambda stage, done: told.append((stage, done)))
    engine.build(Category("boat"))
    assert told == [("ready", 1.0)] and engine.has(Category("boat")) and isinstance(engine, Builder)


def test_preset_weights_and_each_part_of_a_category_are_in_its_key() -> None:
    boat = Category("boat")
    keys = [
        Quick(Plain(), "1").category_key(boat),
        Quick(Plain("other"), "1").category_key(boat),
        Quick(Plain(), "2").category_key(boat),
        Quick(Plain()).category_key(boat),
        Quick(Plain(), "1").category_key(Category("ship")),
        Quick(Plain(), "1").category_key(Category("boat", prompts=("ship",))),
        Quick(Plain(), "1").category_key(Category("boat", kind="thing")),
    ]
    assert len(set(keys)) == len(keys) and Quick(Plain(), "1").category_key(boat) == keys[0]
    assert Quick(Plain()).fingerprint() == "plain"
