from pathlib import Path

import pytest

from ovdiff.errors import PresetError
from ovdiff.presets import load_preset
from ovdiff.presets.word_lists import read_words, with_word_lists, word_list_names


def test_the_common_words_are_some_hundreds_of_one_or_two_words_each_without_duplicates() -> None:
    lists = ("common_stuff", "common_words", "imagenet_templates", "tinyworld_words", "voc_background")
    assert word_list_names() == lists
    words = read_words("common_words", Path("anywhere"))
    assert 300 <= len(words) <= 400
    assert len({word.casefold() for word in words}) == len(words)
    assert all(1 <= len(word.split()) <= 2 and word == " ".join(word.split()) for word in words)
    assert {"person", "car", "dog", "chair", "sky", "grass", "water", "road", "wall"} <= set(words)  # things and stuff


def test_a_preset_names_a_packaged_list_or_a_file_beside_it(tmp_path: Path) -> None:
    (tmp_path / "ours.txt").write_text("# ours\nexcavator\n\n  crane truck  \n")
    preset = tmp_path / "mine.toml"
    preset.write_text('base = "paper"\nname = "mine"\n[anchors]\nwords = "ours.txt"\n')
    assert load_preset(preset).anchors.words == ("excavator", "crane truck")
    preset.write_text('base = "paper"\nname = "mine"\n[anchors]\nwords = "common_words"\n')
    assert load_preset(preset).anchors.words == load_preset("fast").anchors.words


def test_a_path_may_start_anywhere(tmp_path: Path) -> None:
    (tmp_path / "ours.txt").write_text("excavator\n")
    assert read_words(str(tmp_path / "ours.txt"), Path("elsewhere")) == ("excavator",)


def test_a_changed_list_is_a_changed_preset(tmp_path: Path) -> None:
    words, preset = tmp_path / "ours.txt", tmp_path / "mine.toml"
    preset.write_text('base = "tinyworld"\nname = "mine"\n[anchors]\nwords = "ours.txt"\n')
    words.write_text("excavator\n")
    before = load_preset(preset).fingerprint()
    words.write_text("excavator\ntruck\n")
    assert load_preset(preset).fingerprint() != before


def test_a_list_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(
        PresetError,
        match=r"No list of words 'comon'. Known: common_stuff, common_words, imagenet_templates, .*; or give",
    ):
        read_words("comon", tmp_path)
    with pytest.raises(PresetError, match=r"absent.txt cannot be read"):
        read_words("absent.txt", tmp_path)
    (tmp_path / "empty.txt").write_text("# nothing\n")
    with pytest.raises(PresetError, match=r"empty.txt is empty. Write one word a line"):
        read_words("empty.txt", tmp_path)


def test_other_tables_are_left_as_they_are(tmp_path: Path) -> None:
    for mapping in ({"anchors": "no table"}, {"anchors": {"words": ["a"]}}, {"name": "mine"}):
        assert with_word_lists(mapping, tmp_path) == mapping


@pytest.mark.slow  # it imports open_clip
def test_the_baselines_texts_and_background_are_their_authors() -> None:
    import open_clip

    templates = read_words("imagenet_templates", Path("anywhere"))
    assert templates == tuple(template("{category}") for template in open_clip.OPENAI_IMAGENET_TEMPLATES)
    preset = with_word_lists(
        {"texts": {"templates": "imagenet_templates"}, "background": {"words": "voc_background"}}, Path()
    )
    assert preset["texts"]["templates"] == list(templates) and len(preset["background"]["words"]) == 26
    own = {"texts": {"templates": ["a {category}"]}, "background": {"words": []}, "scores": {"scale": 3.0}}
    assert with_word_lists(own, Path()) == own
