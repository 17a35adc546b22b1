from pathlib import Path

import numpy as np
from PIL import Image

from backend.demo.project import (
    BRUSH_TAG,
    IMAGE_TAG,
    LABEL_COLOURS,
    DemoScene,
    choose_scenes,
    demo_labels,
    label_config,
    write_images,
)
from converters.label_studio.label_config import parse_label_config
from ovdiff.tinyworld.world import STUFF, THINGS


def test_every_label_of_the_tiny_world_has_a_colour_of_its_own() -> None:
    assert demo_labels() == [*THINGS, *STUFF]
    assert len(set(LABEL_COLOURS.values())) == len(LABEL_COLOURS)


def test_the_label_config_is_one_that_is_understood() -> None:
    config = parse_label_config(label_config(demo_labels()))
    control = config.control(BRUSH_TAG)
    assert (control.kind, control.to_name) == ("brushlabels", IMAGE_TAG)
    assert list(control.label_values) == demo_labels()
    assert [image.data_key for image in config.images] == ["image"]
    assert control.labels[0].attributes["background"] == LABEL_COLOURS["ball"]


def test_names_that_xml_would_misread_are_escaped() -> None:
    config = parse_label_config(label_config(['salt & "pepper"', "<red> ball"]))
    assert config.control(BRUSH_TAG).label_values == ('salt & "pepper"', "<red> ball")


def test_chosen_scenes_show_several_things_each_and_every_label() -> None:
    scenes = choose_scenes(24)
    visible = [set(scene.render(128).visible()) for scene in scenes]
    assert len({scene.index for scene in scenes}) == 24
    assert all(len(names & set(THINGS)) >= 2 for names in visible)
    assert set().union(*visible) >= set(demo_labels())


def test_the_choice_is_always_the_same() -> None:
    assert choose_scenes(4) == choose_scenes(4)


def test_images_are_written_at_the_size_asked_for(tmp_path: Path) -> None:
    scenes = [DemoScene(3), DemoScene(5)]
    paths = write_images(scenes, tmp_path / "new", 96)
    assert [path.name for path in paths] == ["scene-0003.png", "scene-0005.png"]
    with Image.open(paths[1]) as image:
        assert np.array_equal(np.asarray(image), scenes[1].render(96).image)
