import re

from backend.serving.model_version import is_own, model_version
from backend.serving.vocabulary import Labelling, read_labelling
from backend.settings import OutputSettings
from ovdiff.vocabulary import Category

LABELLING = read_labelling(
    '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
    '<Label value="red"/><Label value="blue"/></BrushLabels></View>',
    max_categories=10,
)
RED, BLUE = Category("red"), Category("blue")


def version(*ready: Category, engine: str = "e", output: str = "o", suffix: str = "") -> str:
    keys = {category: category.name + suffix for category in ready}
    return model_version(LABELLING, ready=keys, engine_fingerprint=engine, output_fingerprint=output)


def test_it_names_the_release_and_ten_hex_digits() -> None:
    assert re.fullmatch(r"ovdiff-\d+\.\d+\.\d+\+[0-9a-f]{10}", version(RED))


def test_it_follows_ready_categories_engine_and_output_settings() -> None:
    versions = {
        version(),
        version(RED),
        version(RED, BLUE),
        version(RED, engine="f"),
        version(RED, output="n"),
        version(RED, suffix="of other weights"),
    }
    assert len(versions) == 6


def test_it_follows_the_limits_of_labels_and_the_services() -> None:
    def of(label: str, output: str = "o") -> str:
        config = (
            '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
            f'<Label value="red" {label}/></BrushLabels></View>'
        )
        labelling = read_labelling(config, max_categories=9)
        return model_version(labelling, ready={RED: "k"}, engine_fingerprint="e", output_fingerprint=output)

    labels = ("", 'threshold="0.5"', 'threshold="0.6"', 'min_area_px="9"')
    fingerprints = (OutputSettings().fingerprint(), OutputSettings(min_score=0.5).fingerprint())
    assert len({of(label, fingerprint) for label in labels for fingerprint in fingerprints}) == 8


def test_it_shows_a_person_what_nobody_reads_of_the_label_config() -> None:
    def end(attributes: str) -> str:
        config = (
            '<View><Image name="image" value="$image"/><BrushLabels name="b" toName="image">'
            f'<Label value="red" {attributes}/></BrushLabels></View>'
        )
        labelling = read_labelling(config, max_categories=9)
        version = model_version(labelling, ready={}, engine_fingerprint="e", output_fingerprint="o")
        return re.sub(r"ovdiff-\d+\.\d+\.\d+\+[0-9a-f]{10}", "", version)

    assert end("") == ""
    assert end('prompt="a"') == " (not read: prompt=, typo?)"
    assert end('prompt="a" treshold="1"') == " (not read: prompt=, treshold=, typo?)"
    assert end('prompt="a" promt="a" treshold="1" min_area="2" kinds="x"') == (
        " (not read: prompt=, promt=, treshold=, 2 more, typo?)"
    )


def test_the_order_in_which_categories_became_ready_does_not_matter() -> None:
    assert version(RED, BLUE) == version(BLUE, RED)


def test_the_order_of_the_labels_does_not_matter() -> None:
    other = Labelling(tuple(reversed(LABELLING.outputs)))
    keys = {RED: "red", BLUE: "blue"}
    found = {
        model_version(each, ready=keys, engine_fingerprint="e", output_fingerprint="o") for each in (LABELLING, other)
    }
    assert len(found) == 1
    swapped = {RED: "blue", BLUE: "red"}
    assert model_version(other, ready=swapped, engine_fingerprint="e", output_fingerprint="o") not in found


def test_it_is_known_again_and_no_other_name_is_taken_for_it() -> None:
    config = (
        '<View><Image name="i" value="$i"/><BrushLabels name="b" toName="i">'
        '<Label value="red" {}/></BrushLabels></View>'
    )
    labellings = [read_labelling(config.format(text), max_categories=9) for text in ("", 'prompt="a"', 'treshold="1"')]
    versions = [model_version(each, ready={}, engine_fingerprint="e", output_fingerprint="o") for each in labellings]
    assert all(map(is_own, versions)) and is_own("ovdiff-12.0.1rc1+0123456789")
    for name in (
        "",
        "ovdiff",
        "ovdiff-1.0.0",
        "ovdiff-mine+0123456789",
        "ovdiff-1.0.0+012345678",
        "ovdiff-1+0123456789x",
    ):
        assert not is_own(name)
    # Label Studio finds predictions by a part of their name, so none may be a part of another one.
    assert not any(one in other for one in versions for other in versions if one is not other)
