"""Labelling configurations: what is read from them, and what is refused."""

import pytest

from converters.errors import LabelConfigError
from converters.label_studio.label_config import ImageTag, labels_of, parse_label_config

CONFIG = """
<View>
  <!-- as recorded from Label Studio, with more tools -->
  <Image name="image" value="$image" zoom="true"/>
  <BrushLabels name="brush" toName="image">
    <Label value="red disc" background="#ff0000" prompts="ball; disc"/>
    <Label value="blue square" background="#0000ff" alias="square"/>
  </BrushLabels>
  <View><PolygonLabels name="poly" toName="image"><Label value="red disc"/></PolygonLabels></View>
  <KeyPointLabels name="kp" toName="image" smart="true"><Label value="red disc"/></KeyPointLabels>
  <Choices name="quality" toName="image"><Choice value="good"/><Choice value="bad"/></Choices>
  <Header value="Mark what you see"/>
</View>
"""


def wrap(inside: str) -> str:
    return f'<View><Image name="image" value="$image"/>{inside}</View>'


def test_controls_labels_and_images_are_read_in_order() -> None:
    config = parse_label_config(CONFIG)
    assert [(c.name, c.kind, c.to_name) for c in config.controls] == [
        ("brush", "brushlabels", "image"),
        ("poly", "polygonlabels", "image"),
        ("kp", "keypointlabels", "image"),
        ("quality", "choices", "image"),
    ]
    assert config.controls[0].label_values == ("red disc", "blue square")
    assert config.controls[3].label_values == ()
    assert config.images == (ImageTag("image", "$image"),)
    assert config.images[0].data_key == "image"


@pytest.mark.parametrize(
    "choices",
    [
        '<Choice value="A"><Choice value="x"/></Choice><Choice value="B"><Choice value="x"/></Choice>',
        '<Choice alias="x"/>',
    ],
)
def test_choices_are_no_labels_and_may_be_named_as_they_like(choices: str) -> None:
    config = parse_label_config(wrap(f'<Taxonomy name="t" toName="image">{choices}</Taxonomy>'))
    assert [(c.name, c.kind, c.labels) for c in config.controls] == [("t", "taxonomy", ())]


def test_choices_are_paths_in_the_words_of_results_and_relations_have_labels() -> None:
    config = parse_label_config(
        wrap(
            '<Taxonomy name="t" toName="image"><Choice value="A" alias="a"><View><Choice value="x"/></View></Choice>'
            '<Choice value="B"/></Taxonomy><Relations><Relation value="near"/><Relation value="far"/></Relations>'
        )
    )
    assert config.controls[0].choices == (("a",), ("a", "x"), ("B",))
    assert config.relations == ("near", "far")


def test_attributes_of_labels_and_controls_are_kept() -> None:
    brush, _, keypoint, _ = parse_label_config(CONFIG).controls
    assert brush.labels[0].attributes == {
        "value": "red disc",
        "background": "#ff0000",
        "prompts": "ball; disc",
    }
    assert keypoint.attributes["smart"] == "true"


def test_regions_carry_the_alias_where_there_is_one() -> None:
    assert [label.result_name for label in parse_label_config(CONFIG).controls[0].labels] == [
        "red disc",
        "square",
    ]


def test_a_control_is_found_by_name_and_kind() -> None:
    config = parse_label_config(CONFIG)
    assert config.control("poly").kind == "polygonlabels"
    assert [c.name for c in config.of_kind("brushlabels", "polygonlabels")] == ["brush", "poly"]
    with pytest.raises(LabelConfigError, match=r"one of \['brush', 'poly', 'kp', 'quality'\], got 'pol'"):
        config.control("pol")


def test_several_images_and_a_list_of_images_are_read() -> None:
    config = parse_label_config(
        '<View><Image name="a" value="$left"/><Image name="b" valueList="$pages"/>'
        '<BrushLabels name="x" toName="a,b"><Label value="cat"/></BrushLabels></View>'
    )
    assert [image.data_key for image in config.images] == ["left", "pages"]


def test_a_config_without_controls_is_read() -> None:
    assert parse_label_config(wrap("")).controls == ()


def test_words_of_any_language_are_read() -> None:
    xml = wrap('<BrushLabels name="b" toName="image"><Label value="Bäume &amp; 木"/></BrushLabels>')
    assert parse_label_config(xml).controls[0].label_values == ("Bäume & 木",)


BILLION_LAUGHS = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><View>&b;</View>'
BROKEN = [
    ("", r"expected a label config \(XML text\), got ''"),
    (None, "got None"),
    ("<View>", "expected a label config in XML, which cannot be read: no element found: line 1"),
    ("not xml", "expected a label config in XML, which cannot be read"),
    ("[1]", "; Label Studio shows it under Settings > Labeling Interface > Code"),
    (BILLION_LAUGHS, "the label config declares a DTD or entities"),
    ('<!DOCTYPE x SYSTEM "file:///etc/passwd"><View/>', "the label config declares a DTD or entities"),
    (
        "<View>" + " " * 2_000_000 + "</View>",
        "expected at most 2000000 characters of label config, got 2000013",
    ),
    ('<View><Image name="i"/></View>', "expected <Image> with a name and a value such as"),
    (
        wrap('<BrushLabels name="b" toName="image"><Label background="red"/></BrushLabels>'),
        r"expected a value for each label, got <Label> with {'background': 'red'} in <BrushLabels name='b'>",
    ),
    (
        wrap('<BrushLabels name="b" toName="image"><Label value="x"/><Label value="x"/></BrushLabels>'),
        r"expected labels of the control 'b' to differ, got \['x'\] more than once",
    ),
    (
        wrap('<BrushLabels name="b" toName="image"/><PolygonLabels name="b" toName="image"/>'),
        r"expected tag names to differ, got \['b'\] more than once",
    ),
    (
        wrap('<BrushLabels name="b" toName="img"><Label value="x"/></BrushLabels>'),
        r"expected toName of the control 'b' to name a tag of the config, got \['img'\]",
    ),
]


@pytest.mark.parametrize(("xml", "message"), BROKEN)
def test_a_broken_config_says_what_is_wrong(xml: str, message: str) -> None:
    with pytest.raises(LabelConfigError, match=message):
        parse_label_config(xml)


def test_the_labels_of_controls_come_in_the_order_of_the_config() -> None:
    config = parse_label_config(
        '<View><Image name="i" value="$image"/><BrushLabels name="b" toName="i"><Label value="z"/></BrushLabels>'
        '<Rating name="r" toName="i"/><PolygonLabels name="p" toName="i"><Label value="a"/><Label value="z"/>'
        "</PolygonLabels></View>"
    )
    assert [label.value for label in labels_of(config.controls)] == ["z", "a", "z"]
    assert [label.value for label in labels_of(config.of_kind("polygonlabels"))] == ["a", "z"]
