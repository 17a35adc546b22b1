"""Work on an item in three steps, of which the middle one alone needs the models.

Where processors are left beside the GPUs, the first and the last step run in tasks of their own, so that a GPU never
waits for a picture to be fetched or a mask to be written. Everywhere else they run one after another; the results are
the same.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Read = TypeVar("Read")
Made = TypeVar("Made")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Stages(Generic[Item, Read, Made, Result]):
    """A function in three steps; picklable if they are.

    Attributes:
        before: reads what an item names, such as an image; needs no model.
        run: runs the models on what was read.
        after: makes what is kept, such as files' bytes and run lengths; needs no model.
    """

    before: Callable[[Item], Read]
    run: Callable[[Read], Made]
    after: Callable[[Made], Result]

    def __call__(self, item: Item) -> Result:
        """Return the result of all steps."""
        return self.after(self.run(self.before(item)))
