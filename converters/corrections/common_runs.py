"""Two label maps of one image as common runs: stretches of pixels, in column-major order, of one label in each map.

    predicted   0 0 0 1 1 1 1 0 0          lengths   3 2 2 2
    annotated   0 0 0 0 0 1 1 1 1    ->    first     0 1 1 0      what is counted by pixels is counted by runs
                                           second    0 0 1 1

A large image of few objects has some thousand runs and millions of pixels.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from converters.encodings.overlaps import LabelRuns

Box = tuple[slice, slice]
"""Rows and columns of an image."""


@dataclass(frozen=True)
class CommonRuns:
    """The runs of two label maps.

    Attributes:
        size_hw: height and width of the image in pixels.
        ends: (N,) int64, the position after the last pixel of each run.
        first, second: (N,) int32, the label of each run in either map, 0 where no region is.
    """

    size_hw: tuple[int, int]
    ends: npt.NDArray[np.int64]
    first: npt.NDArray[np.int32]
    second: npt.NDArray[np.int32]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """The number of pixels of each run."""
        return np.diff(self.ends, prepend=0)

    def box(self) -> Box:
        """Return the rows and columns around all regions of both maps; one pixel if there is no region."""
        height = self.size_hw[0]
        there = (self.first > 0) | (self.second > 0)
        if not there.any():
            return slice(0, 1), slice(0, 1)
        starts, lasts = (self.ends - self.lengths)[there], self.ends[there] - 1
        in_one_column = starts // height == lasts // height
        tops, bottoms = np.where(in_one_column, starts % height, 0), np.where(in_one_column, lasts % height, height - 1)
        columns = slice(int(starts[0]) // height, int(lasts[-1]) // height + 1)
        return slice(int(tops.min()), int(bottoms.max()) + 1), columns

    def in_box(self, values: npt.NDArray[np.integer], box: Box) -> npt.NDArray[np.integer]:
        """Return the pixels of a box, (h, w), each with the value of its run; `values` is (N,) of any integers."""
        height, (rows, columns) = self.size_hw[0], box
        ends = self.ends.clip(columns.start * height, columns.stop * height)
        flat = np.repeat(values, np.diff(ends, prepend=columns.start * height))
        pixels: npt.NDArray[np.integer] = flat.reshape(-1, height).T[rows]
        return pixels


def common_runs(first: LabelRuns, second: LabelRuns) -> CommonRuns:
    """Cut the runs of two label maps of one image where either changes."""
    ends = np.union1d(first.ends, second.ends)
    labels = [runs.labels[np.searchsorted(runs.ends, ends)] for runs in (first, second)]
    return CommonRuns(first.size_hw, ends, labels[0], labels[1])
