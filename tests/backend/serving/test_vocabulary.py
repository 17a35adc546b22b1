import time

import pytest
from label_studio_sdk.label_interface import LabelInterface

from backend.errors import UnusableLabelConfigError
from backend.serving.vocabulary import Labelling, read_labelling
from converters.label_studio.label_config import ImageTag
from ovdiff.vocabulary import Category

IMAGE = '<Image name="image" value="$image"/>'


def labelling(body: str, *, max_categories: int = 200) -> Labelling:
    return read_labelling(f"<View>{IMAGE}{body}</View>", max_categories=max_categories)


def drawn(labelling: Labelling) -> list[tuple[str, str]]:
    return [(output.label, output.control) for output in labelling.outputs]


def test_labels_are_categories_in_their_order() -> None:
    found = labelling('<BrushLabels name="b" toName="image"><Label value="boat"/><Label value="water"/></BrushLabels>')
    assert found.categories == (Category("boat"), Category("water"))
    assert drawn(found) == [("boat", "b"), ("water", "b")]


def test_prompts_and_kind_are_read_and_tolerated_by_label_studio() -> None:
    config = (
        f'<View>{IMAGE}<BrushLabels name="b" toName="image">'
        '<Label value="boat" prompts="a boat; a ship ;" kind="Thing"/><Label value="water" kind="stuff"/>'
        "</BrushLabels></View>"
    )
    found = read_labelling(config, max_categories=10)
    assert found.categories == (
        Category("boat", ("a boat", "a ship"), "thing"),
        Category("water", (), "stuff"),
    )
    LabelInterface(config).validate()


def limited(label: str) -> Labelling:
    return labelling(f'<BrushLabels name="b" toName="image"><Label value="boat" {label}/></BrushLabels>')


def test_limits_belong_to_the_output_and_not_to_the_category() -> None:
    config = (
        f'<View>{IMAGE}<BrushLabels name="b" toName="image">'
        '<Label value="boat" threshold="0.4" min_margin="0.02" min_area_px="50"/>'
        '<Label value="water"/></BrushLabels></View>'
    )
    found = read_labelling(config, max_categories=10)
    limits = [(output.threshold, output.min_margin, output.min_area_px) for output in found.outputs]
    assert limits == [(0.4, 0.02, 50), (None, 0.0, 0)]
    assert found.categories == (Category("boat"), Category("water"))
    assert found.unread == ()
    LabelInterface(config).validate()


def test_limits_are_those_of_the_control_that_draws_the_label_on_an_image() -> None:
    found = labelling(
        '<Image name="second" value="$other"/>'
        '<RectangleLabels name="r" toName="image"><Label value="a" threshold="0.1"/></RectangleLabels>'
        '<BrushLabels name="b" toName="image"><Label value="a" threshold="0.2"/></BrushLabels>'
        '<BrushLabels name="c" toName="second"><Label value="a" threshold="0.3"/></BrushLabels>'
    )
    assert [(output.image.name, output.threshold) for output in found.outputs] == [("image", 0.2), ("second", 0.3)]
    assert [unread.text() for unread in found.unread] == [
        "threshold=\"0.1\" of the label 'a' of <rectanglelabels name='r'> is not read. "
        "Write it into the <Label> of the control that draws the masks."
    ]


def test_a_smart_tool_with_the_same_label_is_no_reason_for_a_warning() -> None:
    label = '<Label value="a" prompts="x" threshold="0.2"/>'
    brush = f'<BrushLabels name="b" toName="image">{label}</BrushLabels>'
    for other in (label, '<Label value="a"/>'):
        smart = f'<KeyPointLabels name="k" toName="image" smart="true">{other}</KeyPointLabels>'
        assert labelling(brush + smart).unread == ()
    smart = '<KeyPointLabels name="k" toName="image"><Label value="a" threshold="0.9"/></KeyPointLabels>'
    assert [unread.name for unread in labelling(brush + smart).unread] == ["threshold"]


def test_every_limit_is_in_the_fingerprint_and_none_leaves_it_as_it_was() -> None:
    fingerprints = {
        limited(label).fingerprint()
        for label in (
            *("", 'threshold="0"', 'threshold="0.5"', 'threshold="0.6"', 'min_area_px="5"', 'min_area_px="6"'),
            *('min_margin="0.5"', 'min_margin="0.6"'),
        )
    }
    assert len(fingerprints) == 8
    assert limited('threshold="" min_margin="0" min_area_px="0"').fingerprint() == limited("").fingerprint()
    assert limited("").fingerprint().startswith("14b11a84e8f7")  # before there were limits
    assert limited('threshold="0.50"').fingerprint() == limited('threshold=".5"').fingerprint()


def test_what_nobody_reads_is_kept_with_the_labelling() -> None:
    found = limited('prompt="x" treshold="0.5"')
    assert [unread.name for unread in found.unread] == ["prompt", "treshold"]
    assert found.categories == (Category("boat"),)


def test_the_first_of_many_unread_attributes_are_enough() -> None:
    labels = "".join(f'<Label value="l{number}" prompt="x"/>' for number in range(30))
    found = labelling(f'<BrushLabels name="b" toName="image">{labels}</BrushLabels>')
    assert [unread.what.split("'")[1] for unread in found.unread] == [f"l{number}" for number in range(20)]


def test_far_too_many_labels_are_refused_in_a_moment() -> None:
    """Reading them once took the square of their number: 10 000 labels took more than 10 s of a processor."""
    labels = "".join(f'<Label value="l{number}"/>' for number in range(10_000))
    started_s = time.process_time()
    with pytest.raises(UnusableLabelConfigError, match="10000 labels, more than 200"):
        labelling(f'<BrushLabels name="b" toName="image">{labels}</BrushLabels>')
    assert time.process_time() - started_s < 3


def test_identifiers_are_read_as_words() -> None:
    found = labelling('<BrushLabels name="b" toName="image"><Label value="traffic_light"/></BrushLabels>')
    assert found.categories == (Category("traffic_light", ("traffic light",)),)


def test_an_alias_is_the_word_in_regions() -> None:
    found = labelling('<BrushLabels name="b" toName="image"><Label value="boat" alias="B1"/></BrushLabels>')
    assert found.categories == (Category("boat"),)
    assert drawn(found) == [("B1", "b")]


@pytest.mark.parametrize("control", ["BrushLabels", "BitmaskLabels", "PolygonLabels", "RectangleLabels"])
def test_every_shape_control_is_an_output(control: str) -> None:
    found = labelling(f'<{control} name="c" toName="image"><Label value="boat"/></{control}>')
    assert [(o.control, o.control_kind) for o in found.outputs] == [("c", control.lower())]


def test_a_label_in_several_controls_goes_to_the_first_that_draws_masks() -> None:
    found = labelling(
        '<RectangleLabels name="r" toName="image"><Label value="a"/><Label value="only box"/></RectangleLabels>'
        '<KeyPointLabels name="k" toName="image"><Label value="a"/><Label value="only point"/></KeyPointLabels>'
        '<PolygonLabels name="p" toName="image"><Label value="a"/></PolygonLabels>'
        '<BrushLabels name="b" toName="image"><Label value="a"/><Label value="c"/></BrushLabels>'
    )
    assert drawn(found) == [("a", "p"), ("c", "b"), ("only box", "r")]


def test_every_image_has_its_own_outputs() -> None:
    found = labelling(
        '<Image name="second" value="$other"/>'
        '<BrushLabels name="b" toName="image"><Label value="a"/></BrushLabels>'
        '<BrushLabels name="c" toName="second"><Label value="a"/><Label value="d"/></BrushLabels>'
    )
    assert found.categories == (Category("a"), Category("d"))
    outputs = found.by_image({Category("a")})
    assert {image: [o.control for o in of_image] for image, of_image in outputs.items()} == {
        ImageTag("image", "$image"): ["b"],
        ImageTag("second", "$other"): ["c"],
    }


def test_the_fingerprint_follows_what_is_drawn_where() -> None:
    brush = labelling('<BrushLabels name="b" toName="image"><Label value="a" background="#f00"/></BrushLabels>')
    recoloured = labelling('<BrushLabels name="b" toName="image"><Label value="a"/></BrushLabels>')
    polygon = labelling('<PolygonLabels name="b" toName="image"><Label value="a"/></PolygonLabels>')
    prompted = labelling('<BrushLabels name="b" toName="image"><Label value="a" prompts="x"/></BrushLabels>')
    assert brush.fingerprint() == recoloured.fingerprint()
    assert len({brush.fingerprint(), polygon.fingerprint(), prompted.fingerprint()}) == 3


def test_the_order_and_the_colours_of_labels_are_in_no_fingerprint_and_change_no_order_of_the_method() -> None:
    labels = ['<Label value="a" prompts="x; y"/>', '<Label value="b" kind="stuff"/>', '<Label value="c" alias="z"/>']
    first = labelling(f'<BrushLabels name="p" toName="image">{"".join(labels)}</BrushLabels>')
    other = labelling(
        f'<BrushLabels name="p" toName="image">{"".join(reversed(labels))}</BrushLabels>'.replace(
            "<Label", '<Label background="#123456" hotkey="q" showInline="true"'
        )
    )
    assert [category.name for category in other.categories] == ["c", "b", "a"]
    assert other.fingerprint() == first.fingerprint()
    assert other.by_image(other.categories) == first.by_image(first.categories)


@pytest.mark.parametrize(
    "changed",
    [
        '<Label value="a" prompts="x"/><Label value="b" alias="z"/>',
        '<Label value="a" prompts="x" alias="z"/><Label value="b" kind="stuff"/>',
        '<Label value="a" prompts="x" kind="stuff"/><Label value="b"/>',
        '<Label value="a"/><Label value="b" prompts="x"/>',
        '<Label value="a" prompts="x"/>',
        '<Label value="b" prompts="x"/><Label value="a"/>',
    ],
)
def test_whatever_changes_a_prediction_is_in_the_fingerprint(changed: str) -> None:
    control = '<BrushLabels name="p" toName="image">{}</BrushLabels>'
    before = labelling(control.format('<Label value="a" prompts="x"/><Label value="b"/>'))
    assert labelling(control.format(changed)).fingerprint() != before.fingerprint()


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("not xml", "cannot be read"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><View/>', "declares a DTD or entities"),
        ('<View><Text name="t" value="$t"/></View>', "shows no <Image>"),
        (f"<View>{IMAGE}</View>", "has no BrushLabels, BitmaskLabels, PolygonLabels or RectangleLabels"),
        (
            f'<View>{IMAGE}<Choices name="c" toName="image"><Choice value="a"/></Choices></View>',
            "its controls: choices",
        ),
        (f'<View>{IMAGE}<BrushLabels name="b" toName="image"/></View>', "has no <Label value=...>"),
        (
            f'<View>{IMAGE}<BrushLabels name="b" toName="image"><Label value="a" kind="fluid"/></BrushLabels></View>',
            "The label config cannot be used: expected kind= of the label 'a' to be thing or stuff, got 'fluid'",
        ),
        (
            f'<View>{IMAGE}<BrushLabels name="b" toName="image"><Label value="a" threshold="2"/></BrushLabels></View>',
            "The label config cannot be used: expected threshold= of the label 'a' to be a score from 0 to 1, such as",
        ),
        (
            f'<View>{IMAGE}<BrushLabels name="b" toName="image"><Label value="a" min_margin="2"/></BrushLabels></View>',
            "cannot be used: expected min_margin= of the label 'a' to be a margin from 0 to 1, such as 0.02, got '2'",
        ),
        (
            f'<View>{IMAGE}<PolygonLabels name="b" toName="image"><Label value="a" min_area_px="1%"/></PolygonLabels>'
            "</View>",
            "cannot be used: expected min_area_px= of the label 'a' to be a whole number of pixels of the image",
        ),
        (
            f'<View>{IMAGE}<BrushLabels name="b" toName="image"><Label value="a" prompts="x;x"/></BrushLabels></View>',
            "Duplicate prompt of category 'a': 'x'",
        ),
    ],
)
def test_unusable_configs_say_what_is_missing(config: str, message: str) -> None:
    with pytest.raises(UnusableLabelConfigError) as caught:
        read_labelling(config, max_categories=10)
    assert message in str(caught.value)


def test_too_many_labels_are_refused() -> None:
    labels = "".join(f'<Label value="l{number}"/>' for number in range(4))
    with pytest.raises(UnusableLabelConfigError, match=r"4 labels, more than 3 \(OVDIFF_MAX_CATEGORIES\)"):
        labelling(f'<BrushLabels name="b" toName="image">{labels}</BrushLabels>', max_categories=3)


def test_a_label_keeps_its_colour_and_another_colour_is_no_other_label() -> None:
    plain, coloured = (
        labelling(f'<BrushLabels name="b" toName="image"><Label value="a"{colour}/></BrushLabels>')
        for colour in ("", ' background="#ff0000"')
    )
    assert [output.colour for output in (*plain.outputs, *coloured.outputs)] == ["", "#ff0000"]
    assert plain == coloured


def test_a_label_of_people_alone_is_no_category() -> None:
    for value in ("yes", "true", "1", " Yes "):
        found = labelling(
            '<BrushLabels name="b" toName="image"><Label value="boat"/>'
            f'<Label value="unsure" skip="{value}" threshold="0.5"/></BrushLabels>'
            '<RectangleLabels name="r" toName="image" smart="true"><Label value="unsure"/></RectangleLabels>'
        )
        assert drawn(found) == [("boat", "b")] and found.unread == ()
    kept = labelling('<BrushLabels name="b" toName="image"><Label value="boat" skip="no"/></BrushLabels>')
    assert drawn(kept) == [("boat", "b")]


def two_controls(brush: str, polygon: str) -> list[tuple[str, str]]:
    return drawn(
        labelling(
            f'<BrushLabels name="b" toName="image" {brush}><Label value="boat"/><Label value="sky"/></BrushLabels>'
            f'<PolygonLabels name="p" toName="image" {polygon}><Label value="boat"/></PolygonLabels>'
        )
    )


def test_a_control_says_whether_it_shows_predictions() -> None:
    assert two_controls("", "") == [("boat", "b"), ("sky", "b")]
    assert two_controls("", 'output="yes"') == [("boat", "p"), ("sky", "b")]
    assert two_controls('output="no"', "") == [("boat", "p")]
    assert two_controls("", 'output="no"') == [("boat", "b"), ("sky", "b")]
    assert two_controls('output="yes"', 'output="yes"') == [("boat", "b"), ("sky", "b")]


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ('<BrushLabels name="b" toName="image"><Label value="boat" skip="maybe"/></BrushLabels>',
         "expected skip= of the label 'boat' to be yes or no, got 'maybe'"),
        ('<BrushLabels name="b" toName="image" output="masks"><Label value="boat"/></BrushLabels>',
         "expected output= of <brushlabels name='b'> to be yes or no, got 'masks'"),
        ('<BrushLabels name="b" toName="image" output="no"><Label value="boat"/></BrushLabels>',
         'says skip="yes" of every label or output="no" of every control'),
        ('<BrushLabels name="b" toName="image"><Label value="boat" skip="yes"/></BrushLabels>',
         'says skip="yes" of every label or output="no" of every control'),
    ],
)  # fmt: skip
def test_what_leaves_nothing_to_predict_or_means_nothing_is_refused(body: str, said: str) -> None:
    with pytest.raises(UnusableLabelConfigError) as caught:
        labelling(body)
    assert said in str(caught.value)


def test_skipped_labels_and_chosen_controls_are_label_studios_business_no_more_than_before() -> None:
    config = (
        f'<View>{IMAGE}<BrushLabels name="b" toName="image" output="yes"><Label value="boat"/>'
        '<Label value="unsure" skip="yes"/></BrushLabels></View>'
    )
    LabelInterface(config).validate()
    assert read_labelling(config, max_categories=10).categories == (Category("boat"),)


def test_whether_annotations_teach_is_no_part_of_the_model_version() -> None:
    image = '<Image name="image" value="$image"/><BrushLabels name="b" toName="image"><Label value="a"/></BrushLabels>'
    said, silent = (read_labelling(f"<View{way}>{image}</View>", max_categories=9) for way in (' learn="yes"', ""))
    assert (said.learns, silent.learns) == (True, None)
    assert said.fingerprint() == silent.fingerprint() and not said.unread
    with pytest.raises(UnusableLabelConfigError, match="learn= of the outermost tag to be yes or no, got 'x'"):
        read_labelling(f'<View learn="x">{image}</View>', max_categories=9)
