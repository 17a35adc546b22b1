from dataclasses import replace
from pathlib import Path

import pytest

from ovdiff.errors import PresetError
from ovdiff.presets import load_preset


def _write(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("[generation]\nimages = 0", r"generation.images is 0; expected 1 to 1024"),
        ("[windows]\ncrops_px = [[96, 120]]", "stride above the size leaves gaps"),
        ("[windows]\ncrops_px = []\nwhole_image = false", "so no part of an image would be encoded"),
        ("[windows]\nmax_long_side_px = 32", "max_long_side_px is 32"),
        (
            "[extractors]\nuse = ['sam']",
            "extractors.use names 'sam'; expected one of 'clip', .* entry point group 'ovdiff.extractors'",
        ),
        (
            "[extractors]\nuse = ['mae']\n[matching]\nextractors = []",
            r"extractors.use \('mae'\) needs models.mae, which is missing",
        ),
        ("[proposals]\nsource = 'cutler'", r"needs models.cutler, which is missing; add a \[models.cutler\] table"),
        (
            "[proposals]\nsource = 'detectron2'",
            r"proposals.detectron2.config and proposals.detectron2.weights must name a file",
        ),
        (
            "[instances]\nmethod = 'proposals'\nsource = ''",
            r"the proposal source 'otsu' reads attribution maps, which an image that is segmented does not have\. Set "
            r"instances.source to a source that reads images, such as 'maskcut', or instances.method to 'cores'",
        ),
        ("[instances]\nsource = 'sam'", "instances.source names 'sam'; expected one of .* 'maskcut'"),
        (
            "[instances]\nmethod = 'proposals'\nsource = 'cutler'",
            r"proposals.cutler\) needs models.cutler, which is missing",
        ),
        (
            "[instances]\nmethod = 'proposals'\nsource = 'detectron2'",
            r"proposals.detectron2.config and proposals.detectron2.weights must name a file",
        ),
        ("[instances]\nmin_area = 2.0", "instances.min_area is 2.0; expected 0.0 to 1.0"),
        ("[safety]\ncheck = 'safety_checker'", "needs models.safety_checker, which is missing"),
        ("[models.clip]\nlibrary = 'open_clip'", "but the embedded CLIP 'tinyworld:clip' is of the library"),
        ("[generation]\nsize_px = 60", "needs a multiple of 8"),
        ("[generation]\nscheduler = 'lcm'\nfinal_sigma = 'zero'", "leave it at 'sigma_min' with 'lcm'"),
        ("[generation]\nscheduler = 'lcm'\nsteps = 51", "steps is 51; 'lcm' has 50 at most"),
        ("[generation]\nphrases = [['tank', 'a'], ['Tank', 'b']]", "gives a name twice"),
        ("[generation]\nphrases = [['tank', ' ']]", "blank name or phrase"),
        ("[anchors]\nwords = ['cat', ' ']", "anchors.words has a blank word"),
        ("[anchors]\nwords = ['cat', 'dog', 'Cat']", "anchors.words has 'cat' more than once; name each word once"),
        ("[anchors]\nsame_cosine = 1.5", "anchors.same_cosine is 1.5; expected -1.0 to 1.0"),
        ("[prototypes]\nkmeans_seed = 5000000000", "kmeans_seed is 5000000000; expected 0 to 4294967295"),
        ("[extractors]\nuse = []", "extractors.use is empty"),
        ("[extractors]\nuse = ['clip']\n[matching]\nextractors = ['dino']", "which extractors.use does not build"),
        ("[matching]\nkinds = ['part', 'part']", "name each once"),
        ("[matching]\nkinds = []", "matching.kinds is empty"),
        ("[generation]\nprompt_template = 'a photo'", "must contain '{category}' exactly once"),
        ("[attribution]\nstep_range = [0.5, 0.5]", r"contains none of the \d+ denoising steps"),
        ("[proposals]\nfixed_background = 0.6", r"fixed_background \(0.6\) is above .*so pixels would be both"),
        ("[models.clip]\nsource = ' '", "models.clip.source is blank"),
    ],
)
def test_what_cannot_be_is_refused_with_its_name(tmp_path: Path, change: str, message: str) -> None:
    with pytest.raises(PresetError, match=message):
        load_preset(_write(tmp_path, f'base = "tinyworld"\n{change}\n'))


def test_changes_in_code_are_validated_too() -> None:
    base = load_preset("tinyworld")
    with pytest.raises(PresetError, match=r"prototypes\.parts is 0"):
        replace(base, prototypes=replace(base.prototypes, parts=0))


@pytest.mark.parametrize(
    ("section", "field"),
    [("matching", "background_threshold"), ("generation", "guidance"), ("prefilter", "logit_scale")],
)
def test_not_a_number_is_refused(section: str, field: str) -> None:
    preset = load_preset("tinyworld")
    with pytest.raises(PresetError, match=f"{section}.{field} is nan"):
        replace(preset, **{section: replace(getattr(preset, section), **{field: float("nan")})})
