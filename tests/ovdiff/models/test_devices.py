from dataclasses import replace

import pytest
import torch

from ovdiff.errors import DeviceError
from ovdiff.models.devices import ON_A_GPU, DeviceOptions, computable, require_device, shown_alone, split_device
from ovdiff.presets.model_settings import CheckpointSettings, DiffusionModelSettings, ModelSettings


def test_the_processor_can_be_used() -> None:
    require_device("cpu")


@pytest.mark.parametrize("device", ["nonsense", "cuda:99"])
def test_a_device_that_is_not_there_is_named(device: str) -> None:
    with pytest.raises(DeviceError, match=f"Device '{device}' cannot be used: .*'cpu' works on every machine"):
        require_device(device)


@pytest.mark.parametrize("device", [None, 3, "meta", "meta:0"])
def test_a_device_that_can_hold_no_model_is_refused(device: str) -> None:
    with pytest.raises(DeviceError, match=r"cannot be used: expected a name such as 'cpu' or 'cuda'"):
        require_device(device)


def test_a_cpu_has_no_options_and_a_gpu_those_that_compute_the_same() -> None:
    assert split_device("cpu") == ("cpu", DeviceOptions())
    name, options = split_device("cuda:1")
    assert name == "cuda:1" and options == ON_A_GPU
    assert [shown_alone(each) for each in ("cuda:1+graphs", "cuda-resident", "cpu")] == [
        "cuda+graphs",
        "cuda-resident",
        "cpu",
    ]
    assert options.resident and not options.bf16_matching and not options.compile


def test_options_are_switched_on_and_off_in_a_device_s_name() -> None:
    name, options = split_device("cuda+compile-resident")
    assert name == "cuda" and options == replace(ON_A_GPU, compile=True, resident=False)
    require_device("cpu+bf16_matching")


@pytest.mark.parametrize("device", ["cpu+fast", "cuda+", "cpu+compile resident", "cpu-+compile"])
def test_an_option_that_is_not_there_is_named_with_those_that_are(device: str) -> None:
    with pytest.raises(DeviceError, match=r"is no list of options\. Expected such as .*resident, device_masks"):
        require_device(device)


def test_graphs_are_a_cuda_device_s() -> None:
    assert split_device("cuda:1+graphs")[1] == replace(ON_A_GPU, graphs=True)
    assert split_device("cpu-graphs") == ("cpu", DeviceOptions())
    with pytest.raises(
        DeviceError, match=r"Device 'cpu\+graphs' .* CUDA graphs on a CUDA device alone\. Drop '\+graphs'"
    ):
        require_device("cpu+graphs")


def test_a_cpu_computes_float32_in_the_place_of_float16_alone() -> None:
    half = DiffusionModelSettings("a", dtype="float16", vae_dtype="float16", variant="fp16")
    on_a_cpu = computable(half, torch.device("cpu"))
    assert on_a_cpu == DiffusionModelSettings("a", dtype="float32", vae_dtype="float32", variant="fp16")
    assert computable(half, torch.device("cuda:1")) is half
    assert computable(replace(half, dtype="bfloat16"), torch.device("cpu")).dtype == "bfloat16"
    assert computable(ModelSettings("a", dtype="float16"), torch.device("cpu")).dtype == "float32"
    assert computable(CheckpointSettings("a", dtype="float16"), torch.device("cpu")).dtype == "float32"
