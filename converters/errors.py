"""Everything `converters` raises on purpose.

    ConverterError
    ├── MaskError            an array is no (H, W) bool mask, or has more pixels than allowed
    ├── PolygonError         points that are no polygon
    ├── BrushRLEError        a brush bit stream is damaged, foreign or of another size
    ├── BitmaskError         a bitmask data URL is damaged, foreign or of another size
    ├── CocoRLEError         COCO run lengths are damaged or of another size
    ├── LabelConfigError     a labelling configuration cannot be used
    ├── LabelStudioError     an export, task, annotation or region cannot be used
    ├── RecordError          records contradict each other
    ├── ImageFileError       an image address does not lie where it was said to
    ├── CocoError            records cannot be written as COCO
    └── EvaluationError      label maps cannot be compared

A message says what was expected, what was got and where it came from; it is meant to be shown to a person.
"""


class ConverterError(ValueError):
    """Base of all: catch this to handle any input that could not be converted."""


class MaskError(ConverterError):
    """An array is no (H, W) bool mask, or has more pixels than allowed."""


class PolygonError(ConverterError):
    """Points do not make a polygon: fewer than three, not finite, or not pairs."""


class BrushRLEError(ConverterError):
    """A Label Studio brush bit stream is damaged, foreign or belongs to an image of another size."""


class BitmaskError(ConverterError):
    """A Label Studio bitmask data URL is damaged, foreign or belongs to an image of another size."""


class CocoRLEError(ConverterError):
    """COCO run lengths are damaged or do not fill their image."""


class LabelConfigError(ConverterError):
    """A labelling configuration is no XML, is unsafe, or lacks or repeats what it must name once."""


class LabelStudioError(ConverterError):
    """A Label Studio export, task, annotation or region lacks what its format promises."""


class RecordError(ConverterError):
    """Records contradict each other: a mask of another size, a category that does not exist."""


class ImageFileError(ConverterError):
    """An image address does not lie under the root that file names are relative to."""


class CocoError(ConverterError):
    """Records cannot be written as COCO, or a COCO file would come out wrong."""


class EvaluationError(ConverterError):
    """Label maps cannot be compared: other sizes, ids without a category."""
