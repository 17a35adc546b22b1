"""The errors that `converters` raises on purpose.

    ConverterError
    ├── MaskError               an array is no (H, W) bool mask, or has more pixels than allowed
    ├── PolygonError            points that are no polygon
    ├── BrushRLEError           a brush bit stream is damaged, foreign or of another size
    ├── BitmaskError            a bitmask data URL is damaged, foreign or of another size
    ├── CocoRLEError            COCO run lengths are damaged or of another size
    ├── LabelConfigError        a labelling configuration cannot be used
    ├── LabelStudioFormatError  an export, task, annotation or region cannot be used
    ├── RecordError             records contradict each other
    ├── ImageFileError          an image cannot be read, or its address does not lie under the root
    ├── CocoError               a COCO file cannot be used, or records cannot be written as one
    ├── PNGError                a file is no PNG, is too large, or of another size or mode
    ├── PanopticError           a COCO panoptic dataset cannot be used
    ├── SemanticPNGError        indexed PNGs and their labels cannot be used, or written
    ├── YOLOError               a YOLO dataset cannot be used
    ├── VOCError                records cannot be written as a VOC dataset
    ├── CSVError                records cannot be written as a CSV table
    ├── OutputError             a file or folder cannot be written
    ├── WorkersError            a process that was given work ended before it was done
    └── EvaluationError         label maps cannot be compared

A message says what was expected, what was found instead and where. It is meant to be shown to a person.
"""


class ConverterError(ValueError):
    """The base of all errors here: catch it to handle any input that cannot be converted."""


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
    """A labelling configuration is no XML, is unsafe, lacks a name, or has a name twice."""


class LabelStudioFormatError(ConverterError):
    """A Label Studio export, task, annotation or region is not in the form that Label Studio gives it."""


class RecordError(ConverterError):
    """Records contradict each other: for example, two categories have one id, or a category does not exist."""


class ImageFileError(ConverterError):
    """An image cannot be read, or its address does not lie under the root that file names are relative to."""


class CocoError(ConverterError):
    """A COCO file is damaged, or records cannot be written as one."""


class PNGError(ConverterError):
    """A file is no PNG, is damaged, too large, or of another size or mode than expected."""


class PanopticError(ConverterError):
    """A COCO panoptic dataset is damaged, or its PNGs and its JSON contradict each other."""


class SemanticPNGError(ConverterError):
    """Indexed PNGs or their labels are damaged or contradict each other, or there are too many categories."""


class YOLOError(ConverterError):
    """A YOLO dataset is damaged: its data.yaml, its folders or its lines."""


class VOCError(ConverterError):
    """Records cannot be written as a VOC dataset."""


class CSVError(ConverterError):
    """Records cannot be written as a CSV table."""


class OutputError(ConverterError):
    """A file or folder cannot be written where it was asked for."""


class EvaluationError(ConverterError):
    """Label maps cannot be compared: they differ in size, or hold an id that is no category."""


class WorkersError(ConverterError):
    """A process that was given work ended before the work was done."""
