import json
import os
import subprocess
import sys
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

ROOT = Path(__file__).parents[3]
CHOSEN = [1, 4, 5, 9, 13, 14, 15, 19, 22, 29, 32, 38, 45, 47, 50, 52, 67, 73, 79, 87, 90, 91, 111, 112]


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
    assert [scene.index for scene in scenes] == CHOSEN
    visible = [set(scene.render(128).visible()) for scene in scenes]
    assert all(len(names & set(THINGS)) >= 2 for names in visible)
    assert set().union(*visible) >= set(demo_labels())


def test_the_choice_is_the_same_in_every_process() -> None:
    """Sets of names are in another order in each process; `make demo` would add other images to its project."""
    code = "from backend.demo.project import choose_scenes; print([scene.index for scene in choose_scenes(24)])"
    environment = {"PYTHONHASHSEED": "2", "PATH": os.defpath}  # a seed that once made another choice
    chosen = subprocess.run([sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, check=True)
    assert json.loads(chosen.stdout) == CHOSEN


def test_images_are_written_at_the_size_asked_for(tmp_path: Path) -> None:
    scenes = [DemoScene(3), DemoScene(5)]
    paths = write_images(scenes, tmp_path / "new", 96)
    assert [path.name for path in paths] == ["scene-0003.png", "scene-0005.png"]
    with Image.open(paths[1]) as image:
        assert np.array_equal(np.asarray(image), scenes[1].render(96).image)
