import pytest

from backend.pages.overview import decider, overview, project_name, size, with_code

CATEGORY = {
    "name": "boat",
    "prompts": ["boat"],
    "kind": "thing",
    "kind_decided_by": "table",
    "state": "ready",
    "stage": "",
    "progress": 1.0,
    "reason": "",
    "word": "known",
    "agreement": 1.0,
    "advice": "",
}


def project(
    *categories: dict[str, object], error: str | None = None, warnings: tuple[str, ...] = ()
) -> dict[str, object]:
    counts: dict[str, int] = {}
    for category in categories:
        counts[str(category["state"])] = counts.get(str(category["state"]), 0) + 1
    return {
        "error": error,
        "warnings": list(warnings),
        "model_version": "v",
        "counts": counts,
        "categories": categories,
    }


def status(projects: dict[str, object], **fields: object) -> dict[str, object]:
    anchors = {"words": 2, "built": 2, "advice": ""}
    return {"missing": {}, "queue": [], "anchors": anchors, "failed_tasks": [], "projects": projects} | fields


def test_the_figures_count_all_projects() -> None:
    failed = CATEGORY | {"state": "failed", "reason": "No image shows it."}
    building = CATEGORY | {"state": "building"}
    found = overview(
        status({"1.2": project(CATEGORY, failed), "3.4": project(building)}, failed_tasks=[{}], queue=[{}, {}])
    )
    assert [(figure.value, figure.is_bad) for figure in found.figures] == [
        ("1 of 3", False),
        ("2", False),
        ("1", True),
        ("1", True),
    ]
    assert found.is_busy


def test_a_service_with_nothing_to_do_is_calm() -> None:
    found = overview(status({"1.2": project(CATEGORY)}))
    assert not found.is_busy
    assert found.notices == ()
    assert not any(figure.is_bad for figure in found.figures)


def test_what_needs_a_person_is_told_problems_first() -> None:
    doubtful = CATEGORY | {"advice": "Give it prompts."}
    failed = CATEGORY | {"name": "fog", "state": "failed", "reason": "No image shows it."}
    found = overview(
        status(
            {
                "1.2": project(doubtful, failed, warnings=("treshold= is not read.",)),
                "3.4": project(error="no <Image>"),
            },
            missing={"models": "being loaded", "bank": "cannot write"},
            anchors={"words": 3, "built": 1, "advice": "run `x` once"},
        )
    )
    assert [(notice.level, notice.where) for notice in found.notices] == [
        ("problem", "Prototype bank"),
        ("problem", "Project 1, fog"),
        ("problem", "Project 3, label config"),
        ("advice", "Models"),
        ("advice", "Project 1, label config"),
        ("advice", "Project 1, boat"),
        ("advice", "Anchors"),
    ]
    assert found.notices[1].text == "No image shows it."
    assert found.notices[-1].text.startswith("1 of 3 are made.")
    assert found.notices[-1].text.endswith("run `x` once.")


@pytest.mark.parametrize(("uid", "name"), [("12.1795200099", "Project 12"), ("odd", "Project odd")])
def test_a_project_is_called_by_its_number(uid: str, name: str) -> None:
    assert project_name(uid) == name


def test_who_decided_is_told_in_words() -> None:
    assert decider("category") == "the label says it by kind="
    assert decider("nearest: 'ship', cosine 0.912") == "nearest: 'ship', cosine 0.912"
    assert decider(None) == ""


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 bytes"), (999, "999 bytes"), (1500, "1.5 kB"), (123_456_789, "123 MB"), (10**16, "10000 TB")],
)
def test_bytes_are_told_in_units(count: int, text: str) -> None:
    assert size(count) == text


def test_code_is_marked_and_everything_is_escaped() -> None:
    assert with_code("run `a <b>` once <i>") == "run <code>a &lt;b&gt;</code> once &lt;i&gt;"
    assert with_code("an odd ` <b>") == "an odd ` &lt;b&gt;"
