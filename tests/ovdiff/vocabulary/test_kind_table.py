from ovdiff.vocabulary.kind_table import COMPARED_NAMES, STUFF_NAMES, THING_NAMES

ADE20K = """
    wall, building, sky, floor, tree, ceiling, road, bed, windowpane, grass, cabinet, sidewalk, person, earth, door,
    table, mountain, plant, curtain, chair, car, water, painting, sofa, shelf, house, sea, mirror, rug, field,
    armchair, seat, fence, desk, rock, wardrobe, lamp, bathtub, railing, cushion, base, box, column, signboard, chest
    of drawers, counter, sand, sink, skyscraper, fireplace, refrigerator, grandstand, path, stairs, runway, case, pool
    table, pillow, screen door, stairway, river, bridge, bookcase, blind, coffee table, toilet, flower, book, hill,
    bench, countertop, stove, palm, kitchen island, computer, swivel chair, boat, bar, arcade machine, hovel, bus,
    towel, light, truck, tower, chandelier, awning, streetlight, booth, television receiver, airplane, dirt track,
    apparel, pole, land, bannister, escalator, ottoman, bottle, buffet, poster, stage, van, ship, fountain, conveyer
    belt, canopy, washer, plaything, swimming pool, stool, barrel, basket, waterfall, tent, bag, minibike, cradle,
    oven, ball, food, step, tank, trade name, microwave, pot, animal, bicycle, lake, dishwasher, screen, blanket,
    sculpture, hood, sconce, vase, traffic light, tray, ashcan, fan, pier, crt screen, plate, monitor, bulletin board,
    shower, radiator, glass, clock, flag
"""
RELEASED_THINGS = """
    apparel, ashcan, blind, case, conveyer belt, dirt track, hood, hovel, land, runway, swimming pool, tank,
    television receiver, waterfall
"""


def _names(text: str) -> set[str]:
    return set(" ".join(text.split()).split(", "))


def test_stuff_is_the_released_table() -> None:
    released = (
        "bedclothes blanket ceiling cloth curtain fence floor glass grass ground lake mountain platform road rock "
        "sidewalk sky snow step track tray wall water wood"
    )
    assert {*released.split(), "trade name"} == STUFF_NAMES
    assert {"sand", "sea", "river", "hill", "earth", "field", "path"} <= THING_NAMES  # kept for parity


def test_known_names_are_plain_and_of_one_kind() -> None:
    assert not STUFF_NAMES & THING_NAMES
    assert all(name == name.strip().casefold() and name for name in STUFF_NAMES | THING_NAMES)
    assert {"wine glass", "toothbrush", "shelves", "windowpane", "tv monitor"} <= THING_NAMES  # one a source


def test_every_name_of_ade20k_is_known() -> None:
    assert len(_names(ADE20K)) == 150
    assert _names(ADE20K) - STUFF_NAMES - THING_NAMES == set()


def test_things_of_the_released_table_are_things_but_lend_their_kind_to_no_other_name() -> None:
    """With "waterfall" among the names that are compared, CLIP would make a "cascade" a thing."""
    assert len(_names(RELEASED_THINGS)) == 14
    assert _names(RELEASED_THINGS) <= THING_NAMES
    assert _names(RELEASED_THINGS) == (STUFF_NAMES | THING_NAMES) - COMPARED_NAMES
