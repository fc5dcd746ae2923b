"""One entity set's rows, stored so that a page is one formatting away.

A stored row is a tuple of JSON literals, its etag's payload first and then one literal per column in the
wire's order. Rows never change in place: an update puts a new tuple where the old one was, so that a page
in the making keeps what it saw.
"""

from __future__ import annotations

import base64
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox.values import FIRST_REC_ID, NO_DATE, Fold, Kind, fold_insensitive, kind_of, ordering

if TYPE_CHECKING:
    from random import Random

    from tap_d365fo.edm.model import Property
    from tap_d365fo.sandbox.definition import EntityDefinition, Row

StoredRow = tuple[str, ...]
Key = Mapping[str, Any] | Sequence[Any]


class Layout:
    """The columns of a table at one moment, and where in a stored row each one stands."""

    def __init__(self, definition: EntityDefinition) -> None:
        self.definition = definition
        self.columns: tuple[Property, ...] = definition.entity_type.properties
        self.place = {each.name: place for place, each in enumerate(self.columns, start=1)}
        self.kinds: dict[str, Kind] = {each.name: kind_of(each.type) for each in self.columns}
        self.blank: list[str] = ["", *map(self._blank, self.columns)]
        """A stored row in which nothing was said."""

    def _blank(self, column: Property) -> str:
        template = self.definition.template
        if column.name in template:
            return self.kinds[column.name].write(template[column.name])
        enum_type = self.definition.enum_of(column)
        if enum_type is not None:
            return f'"{enum_type.members[0].name}"'
        return f'"{NO_DATE}"' if column.ax_type == "Date" else self.kinds[column.name].empty

    def order_of(self, name: str, fold: Fold) -> Callable[[str], Any]:
        """Return what a column's literals sort by."""
        column = self.columns[self.place[name] - 1]
        return ordering(column.type, self.definition.enum_of(column), fold)

    def sort_key(self, names: Iterable[str], fold: Fold) -> Callable[[StoredRow], tuple[Any, ...]]:
        """Return what whole rows sort by under those columns, ascending."""
        parts = [(self.place[name], self.order_of(name, fold)) for name in names]
        return lambda row: tuple([order(row[place]) for place, order in parts])

    def read(self, row: StoredRow) -> dict[str, Any]:
        """Return a row as Python values, control information left out."""
        return {
            each.name: self.kinds[each.name].read(literal)
            for each, literal in zip(self.columns, row[1:], strict=True)
        }


class Index:
    """Rows in the order of some columns: two lists side by side, for bisecting."""

    def __init__(
        self,
        keys: list[tuple[Any, ...]],
        rows: list[StoredRow],
        sort_key: Callable[[StoredRow], tuple[Any, ...]],
    ) -> None:
        self.keys, self.rows, self.sort_key = keys, rows, sort_key

    @classmethod
    def of(cls, rows: Iterable[StoredRow], sort_key: Callable[[StoredRow], tuple[Any, ...]]) -> Index:
        """Return an index over rows in any order; rows of equal keys stay as they stand."""
        pairs = sorted((sort_key(row), number, row) for number, row in enumerate(rows))
        return cls([pair[0] for pair in pairs], [pair[2] for pair in pairs], sort_key)


class Table:
    """The rows of one entity set. Its dataset's lock guards every method."""

    def __init__(self, definition: EntityDefinition, rng: Random) -> None:
        self.layout = Layout(definition)
        self._rng = rng
        self._next_rec_id = FIRST_REC_ID
        self._indexes: dict[tuple[tuple[str, ...], Fold], Index] = {}
        self._rows: list[StoredRow] = []

    @property
    def definition(self) -> EntityDefinition:
        """Return what the table holds rows of."""
        return self.layout.definition

    def __len__(self) -> int:
        return len(self._rows)

    def copy(self, rng: Random) -> Table:
        """Return a table of its own with the same rows."""
        other = Table(self.definition, rng)
        other._next_rec_id = self._next_rec_id
        other._rows = list(self._rows)
        if self.definition.key:
            index = self.index(self.definition.key, fold_insensitive)
            other._keep_only(Index(list(index.keys), other._rows, index.sort_key))
        return other

    def stored(self) -> list[StoredRow]:
        """Return every row, in key order where there is a key."""
        return self._rows

    def index(self, names: tuple[str, ...], fold: Fold) -> Index:
        """Return the rows in the order of `names`, kept until the next change."""
        wanted = (names, fold)
        if wanted not in self._indexes:
            self._indexes[wanted] = Index.of(self._rows, self.layout.sort_key(names, fold))
        return self._indexes[wanted]

    def load(self, rows: Iterable[Row]) -> None:
        """Take many rows at once."""
        self._rows.extend(self._encode(row, self._new_pairs()) for row in rows)
        self._restore_order()

    def insert(self, row: Row) -> StoredRow:
        """Take one row; a key that is there already is refused."""
        stored = self._encode(row, self._new_pairs())
        if self.definition.key and self.find(self.layout.read(stored)) is not None:
            raise ValueError(f"{self.definition.name} has a row of that key already.")
        self._put(stored)
        return stored

    def find(self, key: Key) -> StoredRow | None:
        """Return the row of a key (values by name, or in key order; a position where keyless), or None."""
        if not self.definition.key:
            position = next(iter(key)) if not isinstance(key, Mapping) else int(key["position"])
            return self._rows[position] if position < len(self._rows) else None
        index, at = self._seek(key)
        wanted = self._wanted(key)
        return index.rows[at] if at < len(index.keys) and index.keys[at] == wanted else None

    def update(self, row: StoredRow, changes: Row, pairs: list[list[int]]) -> StoredRow:
        """Put a changed row in the place of `row`."""
        literals = list(row)
        for name, value in changes.items():
            literals[self.layout.place[name]] = self.layout.kinds[name].write(value)
        literals[0] = encode_etag(pairs)
        changed = tuple(literals)
        self.remove(row)
        self._put(changed)
        return changed

    def remove(self, row: StoredRow) -> None:
        """Take a row out."""
        if not self.definition.key:
            self._rows.remove(row)
            self._indexes.clear()
            return
        index, at = self._seek(self.layout.read(row))
        del index.keys[at], index.rows[at]
        self._keep_only(index)

    def reshape(self, definition: EntityDefinition) -> None:
        """Take another set of columns or another number of etag pairs; values that stay are kept."""
        old = self.layout
        self.layout = Layout(definition)
        kept = [old.place.get(each.name) for each in definition.entity_type.properties]
        empties = [kind_of(each.type).empty for each in definition.entity_type.properties]
        self._rows = [
            (
                self._resized(row[0], definition.etag_pairs),
                *[empty if place is None else row[place] for place, empty in zip(kept, empties, strict=True)],
            )
            for row in self._rows
        ]
        self._restore_order()

    def _encode(self, row: Row, pairs: list[list[int]]) -> StoredRow:
        layout = self.layout
        literals = layout.blank.copy()
        literals[0] = encode_etag(pairs)
        try:
            for name, value in row.items():
                literals[layout.place[name]] = layout.kinds[name].write(value)
        except KeyError as missing:
            raise KeyError(f"{self.definition.name} has no column {missing}.") from None
        return tuple(literals)

    def _new_pairs(self) -> list[list[int]]:
        rec_id, self._next_rec_id = self._next_rec_id, self._next_rec_id + 1
        joined = [
            [1, rec_id + place] if self._rng.getrandbits(1) else [0, 0]
            for place in range(1, self.definition.etag_pairs)
        ]
        return [[1, rec_id], *joined][: self.definition.etag_pairs]

    def _resized(self, etag: str, size: int) -> str:
        pairs = decode_etag(etag)[:size]
        if size and not pairs:
            pairs = self._new_pairs()
        return encode_etag(pairs + [[0, 0]] * (size - len(pairs)))

    def _seek(self, key: Key) -> tuple[Index, int]:
        index = self.index(self.definition.key, fold_insensitive)
        return index, bisect_left(index.keys, self._wanted(key))

    def _wanted(self, key: Key) -> tuple[Any, ...]:
        names = self.definition.key
        values = [key[name] for name in names] if isinstance(key, Mapping) else list(key)
        layout = self.layout
        literals = [layout.kinds[name].write(value) for name, value in zip(names, values, strict=True)]
        return tuple(
            layout.order_of(name, fold_insensitive)(literal)
            for name, literal in zip(names, literals, strict=True)
        )

    def _put(self, stored: StoredRow) -> None:
        if not self.definition.key:
            self._rows.append(stored)
            self._indexes.clear()
            return
        index = self.index(self.definition.key, fold_insensitive)
        key = index.sort_key(stored)
        at = bisect_left(index.keys, key)
        index.keys.insert(at, key)
        index.rows.insert(at, stored)
        self._keep_only(index)

    def _restore_order(self) -> None:
        self._indexes.clear()
        if self.definition.key:
            self._keep_only(self.index(self.definition.key, fold_insensitive))

    def _keep_only(self, index: Index) -> None:
        # The key's index is changed in place and is the table; any other is built again when asked for.
        self._indexes = {(self.definition.key, fold_insensitive): index}
        self._rows = index.rows


def encode_etag(pairs: Iterable[Sequence[int]]) -> str:
    """Return the base64 payload of an etag; empty for an entity without one."""
    text = ";".join(f"{version},{rec_id}" for version, rec_id in pairs)
    return base64.b64encode(f"'{text}'".encode()).decode() if text else ""


def decode_etag(payload: str) -> list[list[int]]:
    """Return the pairs of an etag's payload."""
    if not payload:
        return []
    text = base64.b64decode(payload).decode().strip("'")
    return [[int(number) for number in pair.split(",")] for pair in text.split(";")]
