"""Time and size of the brush codec beside label-studio-sdk's, on the same masks in the same run.

    python -m benchmarks.brush_codec [--repeats 7]

Takes about a minute. Prints one line a size and shape of mask: medians in milliseconds both ways, the SDK's
beside ours, the ratio, and bytes. *Smooth* masks are ellipses; *model-like* ones are blobs whose outline is
rough by a pixel or two, as a segmentation that was scaled up has it. Needs the `dev` extra. Timings are those
of the machine; the ratio is what travels.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from label_studio_sdk.converter import brush as sdk
from scipy import ndimage

from converters.encodings.brush import brush_rle_to_mask, mask_to_brush_rle
from converters.encodings.masks import Mask

SIZES_HW = ((480, 640), (1080, 1920), (3000, 4000))


@dataclass(frozen=True)
class Result:
    """Median seconds each way, ours and the SDK's, and the stream's bytes."""

    encode_s: float
    sdk_encode_s: float
    decode_s: float
    sdk_decode_s: float
    stream_bytes: int


def smooth_mask(size_hw: tuple[int, int]) -> Mask:
    """Draw an ellipse over half of the image's height and width."""
    height, width = size_hw
    rows, columns = np.ogrid[:height, :width]
    ellipse: Mask = ((rows / height - 0.5) / 0.25) ** 2 + ((columns / width - 0.5) / 0.25) ** 2 < 1
    return ellipse


def model_like_mask(size_hw: tuple[int, int], seed: int = 0) -> Mask:
    """Draw blobs with a rough outline: a smooth field at an eighth of the size, scaled up, with a little noise."""
    rng = np.random.default_rng(seed)
    coarse = ndimage.gaussian_filter(rng.normal(size=(size_hw[0] // 8, size_hw[1] // 8)), sigma=6)
    field = ndimage.zoom(coarse, 8, order=1)[: size_hw[0], : size_hw[1]] / coarse.std()
    rough: Mask = field + rng.normal(scale=0.02, size=field.shape) > 0.3
    return rough


def measure(mask: Mask, repeats: int) -> Result:
    """Time both codecs on one mask, having checked that they agree."""
    size_hw = (mask.shape[0], mask.shape[1])
    pixels = mask.astype(np.uint8) * 255
    rle = mask_to_brush_rle(mask)
    if not np.array_equal(brush_rle_to_mask(sdk.mask2rle(pixels), size_hw), mask):
        raise RuntimeError("the codecs disagree: see tests/converters/test_brush.py")
    return Result(
        encode_s=median_s(lambda: mask_to_brush_rle(mask), repeats),
        sdk_encode_s=median_s(lambda: sdk.mask2rle(pixels), repeats),
        decode_s=median_s(lambda: brush_rle_to_mask(rle, size_hw), repeats),
        sdk_decode_s=median_s(lambda: sdk.decode_rle(rle).reshape(*mask.shape, 4)[:, :, 3] >= 128, repeats),
        stream_bytes=len(rle),
    )


def median_s(call: Callable[[], object], repeats: int) -> float:
    """Return the median wall time of a call in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def main() -> None:
    """Measure all sizes and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7, help="calls to take the median of")
    repeats = parser.parse_args().repeats
    print("| mask | encode ms (SDK) | ratio | decode ms (SDK) | ratio | bytes |\n|---|---|---|---|---|---|")
    for size_hw in SIZES_HW:
        for name, draw in (("smooth", smooth_mask), ("model-like", model_like_mask)):
            r = measure(draw(size_hw), repeats)
            print(
                f"| {size_hw[1]}x{size_hw[0]} {name} "
                f"| {r.encode_s * 1e3:.2f} ({r.sdk_encode_s * 1e3:.1f}) | {r.sdk_encode_s / r.encode_s:.1f} "
                f"| {r.decode_s * 1e3:.2f} ({r.sdk_decode_s * 1e3:.1f}) | {r.sdk_decode_s / r.decode_s:.1f} "
                f"| {r.stream_bytes} |"
            )


if __name__ == "__main__":
    main()
