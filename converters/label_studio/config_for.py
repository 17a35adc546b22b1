"""Label configs for datasets that come in: the controls that can show what the dataset holds."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from xml.sax.saxutils import quoteattr

from converters.encodings.colours import colour_of
from converters.records import DatasetCategory, ImageRecord

BOX_TAG = "RectangleLabels"


class Needs:
    """What the regions of a dataset need of a label config, found out while the records pass by.

    Attributes:
        boxes: whether a region is a box.
    """

    def __init__(self) -> None:
        """Start with no need."""
        self.boxes = False

    def seen(self, records: Iterable[ImageRecord]) -> Iterator[ImageRecord]:
        """Yield the records, and note what their regions need."""
        for record in records:
            regions = [markup.regions for markup in record.annotations] + [p.regions for p in record.predictions]
            for region in chain.from_iterable(regions):
                self.boxes |= region.box_xywh is not None
            yield record


def label_config_for(
    categories: Sequence[DatasetCategory], kind: str = "BrushLabels", image: str = "$image", *, boxes: bool = False
) -> str:
    """Return a label config for some categories.

    A label carries the category's id as `category=`, a colour that follows from its name, and `kind=` if it is known
    whether the category is a thing or stuff.

    Args:
        categories: the categories, in the order in which the page shows them.
        kind: the control tag, for example BrushLabels, BitmaskLabels or PolygonLabels.
        image: the key of a task's data that holds the image's address, with a dollar sign.
        boxes: whether there is a control for boxes besides.
    """
    labels = "\n".join(
        f"    <Label value={quoteattr(category.name)} background={quoteattr(colour_of(category.name))} "
        f'category="{category.id}"{_kind_attribute(category)}/>'
        for category in categories
    )
    tags = {"label": kind, **({"box": BOX_TAG} if boxes and kind != BOX_TAG else {})}
    controls = "".join(f'  <{tag} name="{name}" toName="image">\n{labels}\n  </{tag}>\n' for name, tag in tags.items())
    return f'<View>\n  <Image name="image" value={quoteattr(image)} zoom="true"/>\n{controls}</View>\n'


def _kind_attribute(category: DatasetCategory) -> str:
    return f' kind="{category.kind}"' if category.kind else ""
