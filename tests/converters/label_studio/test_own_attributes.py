"""Our attributes: their values, and those that look like ours and that nobody reads."""

import pytest

from converters.errors import RecordError
from converters.label_studio import own_attributes
from converters.label_studio.label_config import Label, LabelConfig, parse_label_config
from converters.label_studio.own_attributes import (
    config_learns,
    impossible_values,
    label_min_area_px,
    label_min_margin,
    label_threshold,
    overruled,
    read_score,
    unread_attributes,
)

# Attributes that Label Studio 1.23.2's editor reads on labels and on controls for images, from its source.
LABEL_STUDIOS = (
    "alias aliasStyle allowEmpty background blurradius brightnessControl canRotate category choice contrastControl "
    "crosshair curves defaultthreshold fillColor fillOpacity granularity gridColor gridSize hint hotkey html id index "
    "maxPoints maxUsages minPoints minWidth name negativeZoom opacity perItem perRegion pointSize pointSizeDisabled "
    "pointStyle required rotateControl selected selectedColor selectionArea showAlias showInline showLabels size "
    "skeleton smart smartOnly smoothing snap strokeColor strokeWidth style title toName value visibleWhen "
    "whenLabelValue whenTagName zoom zoomControl"
)


def config(label: str = "", control: str = "", tag: str = "BrushLabels") -> LabelConfig:
    return parse_label_config(
        f'<View><Image name="image" value="$image"/><{tag} name="brush" toName="image" {control}>'
        f'<Label value="boat" {label}/></{tag}></View>'
    )


def label(**attributes: str) -> Label:
    return Label("boat", attributes)


def said(label: str = "", control: str = "", tag: str = "BrushLabels") -> list[str]:
    return [unread.text() for unread in unread_attributes(config(label, control, tag))]


@pytest.mark.parametrize(
    ("text", "score"),
    [("0.5", 0.5), (" .25 ", 0.25), ("0", 0.0), ("1", 1.0), ("1.0", 1.0), ("0.", 0.0), ("", None), ("  ", None)],
)
def test_a_threshold_is_a_score(text: str, score: float | None) -> None:
    assert label_threshold(label(threshold=text)) == score
    assert label_threshold(label()) is None


@pytest.mark.parametrize("text", ["high", "50", "1.01", "-0.1", "0,5", "50%", "nan", "inf", "1e-1", "٠", "0x1", "1_0"])
def test_another_threshold_is_refused_with_its_value_and_an_example(text: str) -> None:
    assert read_score(text) is None
    with pytest.raises(RecordError) as caught:
        label_threshold(label(threshold=text))
    assert str(caught.value) == (
        f"expected threshold= of the label 'boat' to be a score from 0 to 1, such as 0.5, got {text!r}"
    )


def test_a_least_margin_is_a_number_from_0_to_1() -> None:
    assert [label_min_margin(label(min_margin=text)) for text in ("0.02", " 0 ", "")] == [0.02, 0.0, 0.0]
    assert label_min_margin(label()) == 0.0
    for text in ("-0.1", "2", "2%", "nan"):
        with pytest.raises(RecordError, match="expected min_margin= of the label 'boat' to be a margin from 0 to 1"):
            label_min_margin(label(min_margin=text))


def test_a_long_value_is_shown_in_part() -> None:
    with pytest.raises(RecordError) as caught:
        label_threshold(label(threshold="9" * 5000))
    assert len(str(caught.value)) < 200


def test_a_least_area_is_a_whole_number_of_pixels() -> None:
    assert [label_min_area_px(label(min_area_px=text)) for text in ("50", " 0 ", "")] == [50, 0, 0]
    assert label_min_area_px(label()) == 0
    for text in ("50px", "-1", "1.5", "٣", "9" * 12, "²"):
        with pytest.raises(RecordError, match="expected min_area_px= of the label 'boat' to be a whole number of pix"):
            label_min_area_px(label(min_area_px=text))


def test_impossible_values_are_found_without_stopping_at_the_first() -> None:
    found = list(impossible_values(config('threshold="high" min_margin="9" min_area_px="few"')))
    assert [message.split("=")[0] for message in found] == [
        f"expected {name}" for name in ("threshold", "min_margin", "min_area_px")
    ]
    assert list(impossible_values(config('threshold="0.1" min_area_px="5" skip="yes"'))) == []
    assert list(impossible_values(config('skip="x"', 'output="y"'))) == [
        "expected output= of <brushlabels name='brush'> to be yes or no, got 'y'",
        "expected skip= of the label 'boat' to be yes or no, got 'x'",
    ]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("prompt", "prompts"),
        ("promts", "prompts"),
        ("Prompts", "prompts"),
        ("treshold", "threshold"),
        ("Threshold", "threshold"),
        ("thresold", "threshold"),
        ("score_threshold", "threshold"),
        ("min_area", "min_area_px"),
        ("minAreaPx", "min_area_px"),
        ("min-area-px", "min_area_px"),
        ("kinds", "kind"),
        ("knid", "kind"),
        ("categories", "category"),
        ("Skip", "skip"),
        ("skips", "skip"),
    ],
)
def test_what_looks_like_ours_is_named_with_its_value_and_what_to_write(written: str, meant: str) -> None:
    assert said(f'{written}="x"') == [
        f"{written}=\"x\" of the label 'boat' of <brushlabels name='brush'> is not read. Write {meant}=\"x\"."
    ]


@pytest.mark.parametrize("tag", ["BrushLabels", "RectangleLabels", "KeyPointLabels"])
def test_nothing_of_label_studio_and_nothing_of_ours_is_found(tag: str) -> None:
    ours = 'prompts="a" kind="thing" threshold="0.5" min_area_px="9" skip="no" category="7"'
    theirs = " ".join(
        f'{name}="x"' for name in LABEL_STUDIOS.split() if name not in ("value", "name", "toName", "category")
    )
    assert said(f"{ours} {theirs}", theirs, tag) == []


def test_other_attributes_of_other_backends_are_let_be() -> None:
    assert said('predicted_values="boat,ship"', 'model_score_threshold="0.25" model_path="m.pt"') == []


def test_ours_on_a_control_belong_to_its_labels() -> None:
    assert said(control='threshold="0.5" prompt="x"') == [
        "threshold=\"0.5\" of <brushlabels name='brush'> is not read. "
        'Write threshold="0.5" into each <Label> that it is for.',
        'prompt="x" of <brushlabels name=\'brush\'> is not read. Write prompts="x" into each <Label> that it is for.',
    ]


def test_a_controls_own_attribute_of_ours_is_known() -> None:
    assert said(control='keypointsOf="boat"', tag="KeyPointLabels") == []
    (message,) = said(control='keypointOf="boat"', tag="KeyPointLabels")
    assert message.endswith('is not read. Write keypointsOf="boat".')


def test_what_looks_like_output_is_named() -> None:
    assert said(control='output="yes"') == []
    (message,) = said(control='outputs="yes"')
    assert message.endswith('is not read. Write output="yes".')


def root(attributes: str, control: str = "") -> LabelConfig:
    return parse_label_config(
        f'<View {attributes}><Image name="i" value="$i"/>'
        f'<BrushLabels name="brush" toName="i" {control}><Label value="boat"/></BrushLabels></View>'
    )


def test_a_config_says_whether_annotations_teach() -> None:
    assert config_learns(root('learn="Yes"')) is True and config_learns(root('learn="no"')) is False
    assert config_learns(root("")) is None
    with pytest.raises(RecordError, match=r"^expected learn= of the outermost tag to be yes or no, got 'maybe'$"):
        config_learns(root('learn="maybe"'))
    assert list(impossible_values(root('learn="maybe"'))) == [
        "expected learn= of the outermost tag to be yes or no, got 'maybe'"
    ]


def test_what_looks_like_learn_or_stands_elsewhere_is_named() -> None:
    assert list(unread_attributes(root('learn="yes" style="a" className="b" display="c" idAttr="d"'))) == []
    assert [each.text() for each in unread_attributes(root('learns="yes"', 'learn="yes"'))] == [
        'learns="yes" of the outermost tag is not read. Write learn="yes".',
        "learn=\"yes\" of <brushlabels name='brush'> is not read. "
        'Write learn="yes" into the outermost tag, <View>: it is for the whole project.',
    ]


def test_attributes_of_texts_are_none_of_our_business() -> None:
    words = parse_label_config(
        '<View><Text name="t" value="$t"/><Labels name="l" toName="t"><Label value="a" prompt="b"/></Labels></View>'
    )
    assert list(unread_attributes(words)) == []


def test_what_another_control_draws_overrules_a_label() -> None:
    control = config().controls[0]
    given = label(threshold="0.5", prompts="a", kind="thing")
    assert list(overruled(given, control, given)) == []
    assert [each.name for each in overruled(given, control, label(prompts="a"))] == ["threshold"]
    assert [each.name for each in overruled(given, control, None)] == ["prompts", "threshold"]


def test_a_config_of_a_stranger_costs_no_endless_comparisons(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []

    def alike(name: str, own: tuple[str, ...]) -> None:
        compared.append(name)

    monkeypatch.setattr(own_attributes, "_alike", alike)
    said(" ".join(f'a{number}="x"' for number in range(1000)))
    assert len(compared) == 300
    compared.clear()
    assert said(" ".join(f'{"a" * 31}{number}="x"' for number in range(9)) + ' hotkey="x"', 'hotkey="x"') == []
    assert compared.count("hotkey") == 2  # with ours on labels and with ours on this control, which has none
    assert max(map(len, compared)) == len("toName")
