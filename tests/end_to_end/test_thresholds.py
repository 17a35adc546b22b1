"""Thresholds of labels against a real Label Studio, and where it shows that an attribute is not read."""

from typing import Any

import pytest
import requests

from backend.demo.project import DemoScene, write_images
from backend.demo.session import Session

pytestmark = pytest.mark.end_to_end

_SCENE = DemoScene(111, things=1)  # a large yellow balloon in the sky
_SIZE_PX = 256


def config(balloon: str = "", sky: str = "") -> str:
    return (
        '<View><Image name="image" value="$image"/><BrushLabels name="label" toName="image">'
        f'<Label value="balloon" {balloon}/><Label value="sky" {sky}/></BrushLabels></View>'
    )


def predicted(session: Session, project: int, label_config: str) -> dict[str, Any]:
    """Return the newest prediction of the project's only task after a label config was saved."""
    maker = session.maker
    maker.api.set_label_config(project, label_config)
    version = maker.api.backends(project)[0]["model_version"]
    (task,) = maker.predict(project)
    prediction: dict[str, Any] = maker.api.predictions(task.id)[-1]
    assert prediction["model_version"] == version
    return prediction


def regions(prediction: dict[str, Any], *labels: str) -> list[dict[str, Any]]:
    """Return the regions of some labels; a label may have several, one for each object."""
    return [region for region in prediction["result"] if region["value"]["brushlabels"][0] in labels]


@pytest.fixture(scope="module")
def project(session: Session, tmp_path_factory: pytest.TempPathFactory) -> int:
    images = write_images([_SCENE], tmp_path_factory.mktemp("images"), _SIZE_PX)
    made = session.maker.ensure_project("Thresholds", config(), images)
    session.maker.connect(made)
    session.backend.wait_for_prototypes(made, session.maker.console)
    return made


def test_a_threshold_hides_a_region_and_nothing_else(session: Session, project: int) -> None:
    before, built = predicted(session, project, config()), session.backend.built()
    top = {name: max(region["score"] for region in regions(before, name)) for name in ("balloon", "sky")}
    surer, other = sorted(top, key=lambda name: -top[name])
    above, at = f'threshold="{top[other] + 0.0001:.4f}"', f'threshold="{top[other]:.4f}"'

    hidden = predicted(session, project, config(**{other: above}))
    assert hidden["model_version"] != before["model_version"]
    assert hidden["result"] == regions(before, surer)
    assert top[other] in [region["score"] for region in predicted(session, project, config(**{other: at}))["result"]]
    nothing = {other: above, surer: 'min_area_px="1000000"'}
    assert predicted(session, project, config(**nothing))["result"] == []
    assert session.backend.built() == built


def test_the_version_that_label_studio_stores_says_that_an_attribute_is_not_read(
    session: Session, project: int
) -> None:
    """It is all that Label Studio shows a person of what /setup answers; a tab shows its first 8 and last 6 letters."""
    prediction = predicted(session, project, config('prompt="a red balloon"'))
    assert prediction["model_version"].endswith(" (not read: prompt=, typo?)")
    status = requests.get(f"{session.backend.url}/status", timeout=30).json()
    (warnings,) = (each["warnings"] for uid, each in status["projects"].items() if uid.startswith(f"{project}."))
    assert warnings == [
        "prompt=\"a red balloon\" of the label 'balloon' of <brushlabels name='label'> is not read. "
        'Write prompts="a red balloon".'
    ]
