import pytest

from backend.pages.overview import decider, overview, project_name, size, with_code
from backend.serving.readiness import LOADING

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
    idle = {"prelabelling": {"running": None, "last": {}}, "learning": {"obstacle": "", "problem": ""}}
    return {"missing": {}, "queue": [], "anchors": anchors, "failed_tasks": [], "projects": projects} | idle | fields


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


@pytest.mark.parametrize(
    ("projects", "fields", "level", "title", "said"),
    [
        ({}, {}, "going", "No project yet", "Connect this backend to a project"),
        (
            {"7.2": project(CATEGORY)},
            {},
            "good",
            "Ready",
            "All 1 labels are made. Open a task in",
        ),
        ({"7.2": project(CATEGORY)}, {}, "good", "Ready", "`ovdiff prelabel --project 7`."),
        ({"odd": project(CATEGORY)}, {}, "good", "Ready", "Open a task in Label Studio."),
        (
            {"7.2": project(CATEGORY | {"advice": "Give it prompts."})},
            {},
            "good",
            "Ready",
            "1 hint below may make predictions better.",
        ),
        (
            {"7.2": project(CATEGORY, CATEGORY | {"state": "building"})},
            {},
            "going",
            "Labels are being made",
            "1 of 2 labels are made. Tasks get their whole predictions as soon as all are.",
        ),
        ({"7.2": project(CATEGORY)}, {"queue": [{}]}, "going", "Labels are being made", "1 of 1"),
        ({"7.2": project(CATEGORY)}, {"missing": {"models": LOADING}}, "going", "Models are being loaded", "1 of 1"),
        ({"7.2": project(error="no <Image>")}, {"queue": [{}]}, "problem", "One thing needs you", "0 of 0"),
        (
            {"7.2": project(CATEGORY | {"state": "failed"}, CATEGORY)},
            {"failed_tasks": [{}, {}]},
            "problem",
            "2 things need you",
            "1 of 2 labels are made. What does not work stands below, with what to do.",
        ),
    ],
)
def test_the_heading_says_whether_all_is_ready_and_what_to_do_next(
    projects: dict[str, object], fields: dict[str, object], level: str, title: str, said: str
) -> None:
    verdict = overview(status(projects, **fields)).verdict
    assert (verdict.level, verdict.title) == (level, title)
    assert said in verdict.text


def test_a_notice_leads_to_the_label_or_the_label_config_that_it_is_about() -> None:
    doubtful = CATEGORY | {"advice": "Give it prompts."}
    found = overview(status({"1.2": project(doubtful, warnings=("treshold= is not read.",))})).notices
    assert [(notice.project, notice.label) for notice in found] == [("1.2", ""), ("1.2", "boat")]


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


def test_an_option_is_not_broken_behind_its_dashes() -> None:
    whole = '<span class="whole">--anchors=&lt;a-b&gt;</span>'
    assert with_code("run `build-it --anchors=<a-b>` --once") == f"run <code>build-it {whole}</code> --once"


def test_why_nothing_is_learned_and_why_the_background_ended_early_is_told() -> None:
    projects = {"1.2": project(CATEGORY), "3.4": project(CATEGORY), "5.6": project(CATEGORY)}
    refused = {"ended": "Label Studio refused the token."}
    last = {"1.2": refused, "3.4": {"ended": ""}, "5.6": refused}
    found = overview(
        status(
            projects,
            learning={"obstacle": "", "problem": "It does not answer."},
            prelabelling={"running": {"project": "5.6"}, "last": last},
        )
    )
    assert [(notice.level, notice.where, notice.text) for notice in found.notices] == [
        ("problem", "Learning from annotations", "It does not answer."),
        ("advice", "Project 1, predictions in the background", "Label Studio refused the token."),
    ]
    assert found.verdict.level == "problem"
    hindered = overview(status(projects, learning={"obstacle": "No token is set.", "problem": ""}))
    assert [notice.text for notice in hindered.notices] == ["No token is set."]
