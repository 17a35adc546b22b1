"""A drawn support set and its curation become the support set from which prototypes are made. Never imports torch.

Rejected images are set aside, exemplars come after all drawn images in the order of their addresses, and banned places
are background no more. The order in which people decided does not matter.
"""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ovdiff.bank.support import SupportImage, SupportSet
from ovdiff.curation.curation import Curation, Exemplar
from ovdiff.curation.exemplars import pictures_to_exemplar
from ovdiff.curation.pictures import PictureStore
from ovdiff.errors import CurationError
from ovdiff.presets import Preset

Places = dict[str, NDArray[np.bool_]]
"""For each support image, by its `place_name`, which of its pixels are meant: (S, S) bool."""


def place_name(item: SupportImage) -> str:
    """Return the name of a support image in a ban: the number of a drawn image, the address of an exemplar.

    An exemplar's number may change when others are added or removed; its address does not.
    """
    return item.address or f"{item.number:04d}"


def curate(drawn: SupportSet, curation: Curation, pictures: PictureStore, preset: Preset) -> SupportSet:
    """Return a support set as its curation wants it. The drawn set is not changed.

    Args:
        drawn: the drawn images with their masks; without images if nothing is drawn.
        curation: what people changed.
        pictures: where exemplars and banned places are.
        preset: the number and size of drawn images, and whether backgrounds are eroded.

    Raises:
        CurationError: an exemplar or a ban is not stored, or is of another size than support images.
    """
    if not curation.identity():
        return drawn
    rejected = curation.rejected_numbers()
    in_use = [item for item in drawn.images if item.number not in rejected]
    exemplars = {item.pictures: item for item in curation.exemplars}
    for number, address in enumerate(sorted(exemplars), start=preset.generation.images):
        in_use.append(_exemplar_image(exemplars[address], number, pictures, preset))
    banned = _banned_places(curation, pictures)
    return SupportSet(
        tuple(_without_places(item, banned.get(place_name(item))) for item in in_use),
        refused=drawn.refused,
        rejected=tuple(item for item in drawn.images if item.number in rejected),
        reasons={item.number: item.why for item in curation.rejected},
    )


def stored_places(places: Places) -> dict[str, NDArray[np.uint8]]:
    """Return places as pictures to be stored: 255 where a pixel is meant. Images without such a pixel are left out."""
    return {name: mask.astype(np.uint8) * 255 for name, mask in places.items() if mask.any()}


def _exemplar_image(exemplar: Exemplar, number: int, pictures: PictureStore, preset: Preset) -> SupportImage:
    what = f"The exemplar {exemplar.name!r}"
    try:
        found = pictures_to_exemplar(pictures.get(exemplar.pictures, what))
    except KeyError as error:
        raise CurationError(f"{what} has no picture {error}. Remove it (ovdiff prototypes remove-exemplar).") from error
    size_px = preset.generation.size_px
    if found.image.shape != (size_px, size_px, 3):
        raise CurationError(f"{what} is of {found.image.shape} pixels, expected {size_px} x {size_px}. Add it anew.")
    background, settings = found.surroundings, preset.support
    if settings.erode_background:
        from scipy import ndimage  # not above: without the extras, torch is what people must hear of first

        background = ndimage.binary_erosion(background, border_value=not settings.erode_border)
    return SupportImage(
        found.image,
        found.foreground.astype(np.float32),
        found.foreground,
        background,
        number=number,
        exemplar=exemplar.name or exemplar.pictures[:12],
        address=exemplar.pictures,
    )


def _banned_places(curation: Curation, pictures: PictureStore) -> Places:
    banned: Places = {}
    for ban in curation.bans:
        for name, levels in pictures.get(ban.places, f"A ban of {curation.category!r}").items():
            banned[name] = banned[name] | (levels > 0) if name in banned else levels > 0
    return banned


def _without_places(item: SupportImage, places: NDArray[np.bool_] | None) -> SupportImage:
    if places is None:
        return item
    if places.shape != item.background.shape:
        raise CurationError(
            f"A ban of image {item.number} is of {places.shape} pixels, and the image of {item.background.shape}. "
            "Unban it (ovdiff prototypes unban)."
        )
    return replace(item, background=item.background & ~places)
