"""Records of which some columns are decoded, while the others stay the server's own bytes."""

from __future__ import annotations

from decimal import Decimal
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable


class PartialRecords:
    """Opens records of the same columns, and takes new values for those that are decoded."""

    def __init__(self, columns: Iterable[str], opened: frozenset[str]) -> None:
        """`opened` are the columns to decode; names among them that are no columns may be added."""
        columns = tuple(columns)
        added = sorted(opened.difference(columns))
        fields = {f"c{place}": name for place, name in enumerate((*columns, *added))}
        kinds = [
            (field, Any if name in opened else msgspec.Raw, msgspec.UNSET) for field, name in fields.items()
        ]
        row = msgspec.defstruct("PartialRecord", kinds, rename=fields, gc=False)
        self.decode = msgspec.json.Decoder(row, float_hook=Decimal).decode
        """Open a record; encoding what comes gives it back in the columns' order."""
        self._opened = [(name, field) for field, name in fields.items() if name in opened]
        self._names = opened

    def values(self, row: Any) -> dict[str, Any]:
        """Return the decoded columns that a record has."""
        found = ((name, getattr(row, field)) for name, field in self._opened)
        return {name: value for name, value in found if value is not msgspec.UNSET}

    def put(self, row: Any, values: dict[str, Any]) -> None:
        """Give a record these values for its decoded columns, and for the others none.

        Raises KeyError for a column that was not among those to decode.
        """
        if not values.keys() <= self._names:
            raise KeyError(*(values.keys() - self._names))
        for name, field in self._opened:
            setattr(row, field, values.get(name, msgspec.UNSET))


partial_records = lru_cache(maxsize=64)(PartialRecords)
