"""What comes twice and should not: tasks, annotations, predictions and images of a file, regions of an annotation.

The ids and addresses of the whole file are kept, some hundred bytes a task; nothing else is.

Tested in tests/converters/label_studio/test_fault_table.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from converters.files.json_values import Json, identifier
from converters.label_studio.findings import Fault
from converters.label_studio.shapes import shape_of

_Number = int | str


class FileRepeats:
    """The ids and addresses of a file so far."""

    def __init__(self) -> None:
        """Start without tasks."""
        self._tasks: dict[str, int] = {}
        self._items: dict[tuple[str, str], _Number] = {}
        self._images: dict[str, _Number] = {}
        self._row: _Number | None = None

    def task(self, task: Any, position: int) -> Iterator[Fault]:
        """Note a task's id, and yield a fault if another task has it.

        The rows of JSON_MIN that follow each other with one id are one task: there is a row for each annotation.
        """
        number = identifier(task.get("id")) if isinstance(task, Mapping) else None
        is_row = isinstance(task, Mapping) and not isinstance(task.get("data"), Mapping)
        self._goes_on = is_row and number is not None and number == self._row
        self._row = number if is_row else None
        if number is None or self._goes_on:
            return
        first = self._tasks.setdefault(str(number), position)
        if first != position:
            what = f"task {first} of the file, counted from 0, has the id {number!r:.40}, too"
            yield Fault("duplicate-task", what, "Corrections and predictions are mixed up: give each task its own id.")

    def images(self, addresses: Sequence[str], number: _Number) -> Iterator[Fault]:
        """Note the addresses of a task's images, and yield a fault for each that was there before."""
        if self._goes_on:
            return
        for address in addresses:
            if address in self._images:
                what = f"the image {address!r:.100} is that of task {self._images[address]}, too"
                advice = "It is labelled and counted twice: keep one of them, or join them into one task."
                yield Fault("duplicate-image", what, advice)
            else:
                self._images[address] = number

    def item(self, item: Json, key: str, number: _Number) -> Iterator[Fault]:
        """Note the id of an annotation or prediction (`key` says which), and yield a fault if another one has it."""
        kind = key.removesuffix("s")
        for field in ("id", "unique_id"):
            name = identifier(item.get(field))
            if name is None:
                continue
            if (kind + field, str(name)) in self._items:
                what = f"{kind} {item.get('id')} of task {self._items[kind + field, str(name)]} has the {field}, too"
                yield Fault("duplicate-item", what, f"Give each {kind} an {field} of its own, or none.")
                return
            self._items[kind + field, str(name)] = number


class RegionRepeats:
    """The shapes of an annotation or prediction so far."""

    def __init__(self) -> None:
        """Start without regions."""
        self._shapes: dict[str, list[tuple[Any, Json]]] = {}

    def region(self, result: Json) -> Iterator[Fault]:
        """Note a result with a shape, and yield a fault if a region of another id has the same shape and labels."""
        shape = shape_of(result)
        if not shape:
            return
        value = result["value"]
        labels = [value[key] for key in sorted(value) if key.endswith("labels")]
        place = [result.get(key) for key in ("to_name", "item_index", "from_name")]
        alike = self._shapes.setdefault(repr((place, labels, _fingerprint(shape))), [])
        if any(other == shape and (name is None or name != result.get("id")) for name, other in alike):
            what = "another region has the same shape and the same labels"
            yield Fault("identical-regions", what, "One hides the other, and both are counted: remove one of them.")
        alike.append((result.get("id"), shape))


def _fingerprint(shape: Json) -> list[tuple[str, Any]]:
    """Return a short value that equal shapes share; a mask has some hundred thousand numbers."""
    return [
        (key, (len(shape[key]), shape[key][-8:]) if isinstance(shape[key], (list, str)) else shape[key])
        for key in sorted(shape)
    ]
