from backend.serving.preparing.turns import Turns
from ovdiff.vocabulary import Category

RED, BLUE, GREEN = Category("red"), Category("blue"), Category("green")


def order(turns: Turns) -> list[tuple[str, str]]:
    """Settle all that is open, a turn after another, and return whose turns they were."""
    taken = []
    while (turn := turns.next()) is not None:
        project_uid, category = turn
        turns.end_turn(project_uid)
        turns.settle(category)
        taken.append((project_uid, category.name))
    return taken


def test_projects_take_turns_and_each_keeps_the_order_of_its_categories() -> None:
    turns = Turns()
    turns.want("1", [RED, BLUE, GREEN])
    turns.want("2", [Category("sky"), Category("sea")])
    assert order(turns) == [("1", "red"), ("2", "sky"), ("1", "blue"), ("2", "sea"), ("1", "green")]


def test_the_order_is_told_without_taking_a_turn() -> None:
    turns = Turns()
    turns.want("1", [RED, BLUE, GREEN])
    turns.want("2", [Category("sky"), BLUE])
    told = [(project_uid, category.name) for project_uid, category in turns.order()]
    assert told == [("1", "red"), ("2", "sky"), ("1", "blue"), ("1", "green")]
    assert told == order(turns)
    assert turns.order() == []


def test_a_project_that_asks_again_neither_gains_nor_loses_its_turn() -> None:
    turns = Turns()
    turns.want("1", [RED, BLUE])
    turns.want("2", [GREEN])
    turns.want("2", [GREEN])
    turns.want("1", [RED, BLUE])
    assert order(turns) == [("1", "red"), ("2", "green"), ("1", "blue")]


def test_a_category_of_two_projects_is_settled_for_both() -> None:
    turns = Turns()
    turns.want("1", [RED])
    turns.want("2", [RED, BLUE])
    assert order(turns) == [("1", "red"), ("2", "blue")]
    turns.want("3", [RED])
    assert turns.next() is None


def test_what_is_opened_again_is_open_for_each_project_that_wants_it() -> None:
    turns = Turns()
    turns.want("1", [RED])
    turns.want("2", [RED])
    turns.settle(RED)
    turns.reopen(RED)
    turns.forget("1")
    assert turns.next() == ("2", RED)


def test_what_a_project_wants_no_more_is_not_open_and_not_remembered() -> None:
    turns = Turns()
    turns.want("1", [RED, BLUE])
    turns.settle(RED)
    turns.want("1", [GREEN])
    assert [turns.is_wanted(each) for each in (RED, BLUE, GREEN)] == [False, False, True]
    assert order(turns) == [("1", "green")]
    turns.want("1", [RED])
    assert turns.is_open(RED)


def test_what_nobody_wants_can_be_neither_settled_nor_opened() -> None:
    turns = Turns()
    turns.settle(RED)
    turns.reopen(RED)
    turns.forget("1")
    assert not turns.is_open(RED) and turns.next() is None
    turns.want("1", [RED])
    assert turns.is_open(RED)


def test_a_category_that_is_put_off_comes_after_the_others_of_its_projects() -> None:
    turns = Turns()
    turns.want("1", [RED, BLUE, GREEN])
    turns.want("2", [RED])
    turns.put_off(RED)
    turns.put_off(Category("nobody wants it"))
    assert order(turns) == [("1", "blue"), ("2", "red"), ("1", "green")]
