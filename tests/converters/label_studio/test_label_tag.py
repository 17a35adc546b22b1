"""One attribute of one label is changed in the text of a label config, and every other character stays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from converters.errors import LabelConfigError
from converters.label_studio.label_config import NOT_IN_XML, parse_label_config
from converters.label_studio.label_tag import LabelTag, attribute_text, find_label_tag

CONFIG = """<?xml version="1.0" encoding="utf-16"?>
<!-- <Label value="boat"/> of old, é 船 -->
<View  >
  <Header value="boat"/><Image name='image' value="$image"/>
  <KeyPointLabels name="points" toName="image"><Label value="boat"/></KeyPointLabels>
  <BrushLabels toName="image"\tname="b">
    <View><Label
       value='boat'   hotkey="1" /></View>
    <Label value="fi&amp;sh &gt; &#x22;x&#34;" prompts = 'a > b; "c"' background="#ff0000"> <!-- > --> </Label>
    <Label value="sea"></Label><label value="noprompts" xprompts="1"/>
  </BrushLabels>
</View>"""


def changed(value: str, prompts: str, xml: str = CONFIG) -> str:
    tag = find_label_tag(xml, "b", value)
    return tag.replaced(tag.with_attribute("prompts", prompts))


@pytest.mark.parametrize(
    ("value", "old", "new"),
    [
        ("boat", """value='boat'   hotkey="1" />""", """value='boat'   hotkey="1" prompts="x; y" />"""),
        ('fi&sh > "x"', """prompts = 'a > b; "c"' background""", """prompts="x; y" background"""),
        ("sea", '<Label value="sea"></Label>', '<Label value="sea" prompts="x; y"></Label>'),
        ("noprompts", 'xprompts="1"/>', 'xprompts="1" prompts="x; y"/>'),
    ],
)
def test_the_attribute_alone_is_changed_whatever_stands_around_it(value: str, old: str, new: str) -> None:
    assert CONFIG.count(old) == 1
    assert changed(value, "x; y") == CONFIG.replace(old, new)


def test_the_tag_is_put_back_as_it_was() -> None:
    tag = find_label_tag(CONFIG, "b", "boat")
    after = tag.with_attribute("prompts", "x")
    again = find_label_tag(tag.replaced(after), "b", "boat")
    assert again.text == after
    assert again.replaced(tag.text) == CONFIG


@given(st.text(min_size=1).filter(lambda text: not NOT_IN_XML.search(text)))
def test_any_text_is_read_again_as_it_was_written(value: str) -> None:
    labels = parse_label_config(changed("boat", value)).control("b").labels
    assert labels[0].attributes["prompts"] == value
    assert labels[1:] == parse_label_config(CONFIG).control("b").labels[1:]


def test_an_attribute_is_escaped() -> None:
    assert attribute_text("prompts", '<a> & "b"\n') == 'prompts="&lt;a&gt; &amp; &quot;b&quot;&#10;"'


@pytest.mark.parametrize(
    ("control", "value", "said"),
    [
        ("b", "ship", "expected a label of the control 'b', which has \\['boat', .*got 'ship'"),
        ("c", "boat", "expected a control of the label config"),
    ],
)
def test_a_label_that_is_not_there_is_told(control: str, value: str, said: str) -> None:
    with pytest.raises(LabelConfigError, match=said):
        find_label_tag(CONFIG, control, value)


@pytest.mark.parametrize(
    "text", ['<Label value="sea"/><Label value="x">', '<Choice value="sea">', '<Label value="sea">more']
)
def test_a_text_that_changes_more_than_its_tag_is_refused(text: str) -> None:
    with pytest.raises(LabelConfigError, match="expected a tag that changes this label alone"):
        find_label_tag(CONFIG, "b", "sea").replaced(text)


def test_a_byte_order_mark_moves_nothing() -> None:
    marked = f"\ufeff{CONFIG}"
    assert changed("sea", "x", marked) == f"\ufeff{changed('sea', 'x')}"
    assert isinstance(find_label_tag(marked, "b", "sea"), LabelTag)
