"""The rows of one environment: tables that can be read and changed by many threads at once.

A stored row is a tuple of JSON literals, its etag's payload first and then one literal per column in the
wire's order. Rows never change in place: an update puts a new tuple where the old one was, so that a page
in the making keeps what it saw.
"""

from __future__ import annotations

import base64
import threading
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.model import DATA_AREA_ID, EntityType, Property
from tap_d365fo.sandbox.values import FIRST_REC_ID, NO_DATE, Fold, Kind, fold_insensitive, kind_of, ordering

if TYPE_CHECKING:
    from tap_d365fo.sandbox.definition import EntityDefinition, Row

StoredRow = tuple[str, ...]
Key = Mapping[str, Any] | Sequence[Any]
Clock = Callable[[], datetime]

_RANDOM_VERSION = 2**31 - 1


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


class Dataset:
    """Entities, their rows, and how they change. Every public method may be called from any thread."""

    def __init__(
        self, definitions: Iterable[EntityDefinition] = (), *, seed: int = 0, clock: Clock | None = None
    ) -> None:
        self.lock = threading.RLock()
        self.clock: Clock = clock or (lambda: datetime.now(timezone.utc))
        self.seed = seed
        self.version = 0
        """Counts changes of the entities themselves, so that metadata can be kept until one happens."""
        self._rng = Random(seed)
        self._tables: dict[str, Table] = {}
        self._rounds = 0
        for each in definitions:
            self.define(each)

    def copy(self, clock: Clock | None = None) -> Dataset:
        """Return a dataset of its own that holds the same, and will change in the same way."""
        other = Dataset(seed=self.seed, clock=clock)
        with self.lock:
            other._rng.setstate(self._rng.getstate())
            other._tables = {name: table.copy(other._rng) for name, table in self._tables.items()}
            other.version, other._rounds = self.version, self._rounds
        return other

    @property
    def names(self) -> tuple[str, ...]:
        """Return the entity sets in the container's order."""
        return tuple(self._tables)

    @property
    def definitions(self) -> tuple[EntityDefinition, ...]:
        """Return what every entity set is."""
        return tuple(table.definition for table in self._tables.values())

    @property
    def companies(self) -> tuple[str, ...]:
        """Return the ids of all legal entities, lower case."""
        if "LegalEntities" not in self._tables:
            return tuple(sorted({row[DATA_AREA_ID].lower() for row in self._scoped_rows()}))
        return tuple(row["LegalEntityId"].lower() for row in self.rows("LegalEntities"))

    def _scoped_rows(self) -> Iterable[dict[str, Any]]:
        for table in self._tables.values():
            if table.definition.is_company_scoped:
                yield from self.rows(table.definition.name)

    def table(self, name: str) -> Table:
        """Return a table by its entity set's name, or raise KeyError."""
        return self._tables[name]

    def __contains__(self, name: object) -> bool:
        return name in self._tables

    def define(self, definition: EntityDefinition) -> None:
        """Add an entity, with its rows at the start."""
        table = Table(definition, self._rng)
        if definition.rows is not None:
            table.load(definition.rows())
        with self.lock:
            self._tables[definition.name] = table
            self.version += 1

    def replace_with(self, other: Dataset) -> None:
        """Take another dataset's entities and rows in place of these."""
        with self.lock:
            self._tables, self._rounds = other._tables, 0
            self.version += 1

    def rows(self, name: str) -> list[dict[str, Any]]:
        """Return all rows as Python values: decimals exact, date-times as text."""
        with self.lock:
            table = self._tables[name]
            layout, stored = table.layout, list(table.stored())
        return [layout.read(row) for row in stored]

    def load(self, name: str, rows: Iterable[Row]) -> None:
        """Add many rows at once, without looking for keys that are there already."""
        with self.lock:
            self._tables[name].load(rows)

    def insert(self, name: str, row: Row) -> dict[str, Any]:
        """Add a row. Stamps that it does not give are set to now."""
        with self.lock:
            table = self._tables[name]
            stamps = {each: self._now() for each in _stamps(table.definition) if each not in row}
            return table.layout.read(table.insert({**row, **stamps}))

    def late_commit(self, name: str, row: Row, *, seconds: float) -> dict[str, Any]:
        """Add a row whose stamps lie `seconds` back: its transaction took that long to commit."""
        stamp = self._now(timedelta(seconds=-seconds))
        return self.insert(name, {**dict.fromkeys(_stamps(self._tables[name].definition), stamp), **row})

    def update(
        self,
        name: str,
        key: Key,
        changes: Row | None = None,
        *,
        pair: int | None = None,
        silent: bool = False,
    ) -> dict[str, Any]:
        """Change a row: one pair of its etag gets a random row version, a modified stamp moves to now.

        `pair` chooses the data source (0 is the root table; without it the root where there is a stamp, else
        any that is joined). A change of a joined one leaves the stamp alone. `silent` moves neither, as
        virtual fields do.
        """
        with self.lock:
            table = self._tables[name]
            row = self._found(table, key)
            pairs, changed = decode_etag(row[0]), dict(changes or {})
            if not silent:
                chosen = self._chosen_pair(table.definition, pairs) if pair is None else pair
                if pairs:
                    pairs[chosen] = [self._rng.randint(2, _RANDOM_VERSION), pairs[chosen][1] or FIRST_REC_ID]
                if table.definition.modified and chosen == 0:
                    changed.setdefault(table.definition.modified, self._now())
            return table.layout.read(table.update(row, changed, pairs))

    def delete(self, name: str, key: Key) -> None:
        """Take a row out."""
        with self.lock:
            table = self._tables[name]
            table.remove(self._found(table, key))

    def etag(self, name: str, key: Key) -> list[tuple[int, int]]:
        """Return the (RecVersion, RecId) pairs of a row."""
        with self.lock:
            pairs = decode_etag(self._found(self._tables[name], key)[0])
        return [(version, rec_id) for version, rec_id in pairs]

    def add_property(self, name: str, column: Property) -> None:
        """Give an entity one more column, as an update of the environment does."""
        self._retype(name, lambda columns: (*columns, column))

    def drop_property(self, name: str, column: str) -> None:
        """Take a column away from an entity."""
        self._retype(name, lambda columns: tuple(each for each in columns if each.name != column))

    def set_etag_pairs(self, name: str, pairs: int) -> None:
        """Give an entity another number of data sources; 0 makes it send no etag."""
        with self.lock:
            table = self._tables[name]
            table.reshape(replace(table.definition, etag_pairs=pairs))

    def advance(self, seed: int | None = None) -> dict[str, dict[str, int]]:
        """Play a round of change over several entities; return counts by entity set and kind."""
        with self.lock:
            self._rounds += 1
            rng = Random(f"{self.seed}/{self._rounds if seed is None else seed}")
            moved = [each for each in self.definitions if each.make is not None]
            return {each.name: self._advance(each, rng) for each in moved}

    def _advance(self, definition: EntityDefinition, rng: Random) -> dict[str, int]:
        table = self._tables[definition.name]
        share = max(1, len(table) // 50)
        counts = {"inserted": 0, "updated": 0, "deleted": 0}
        if not definition.append_only:
            for old in rng.sample(table.stored(), min(2 * share, len(table))):
                self.update(definition.name, self._key_of(table, old), _touched(definition, table, old, rng))
                counts["updated"] += 1
            for old in rng.sample(table.stored(), min(share, len(table) - 1)):
                self.delete(definition.name, self._key_of(table, old))
                counts["deleted"] += 1
        companies = _owners(definition, table)
        for number in range(share * 2):
            assert definition.make is not None
            row = definition.make(rng, rng.choice(companies), 1_000_000 + 1_000 * self._rounds + number)
            if table.find({**table.layout.read(table.stored()[0]), **row}) is None:
                self.insert(definition.name, row)
                counts["inserted"] += 1
        return counts

    def _key_of(self, table: Table, row: StoredRow) -> Mapping[str, Any]:
        values = table.layout.read(row)
        return {name: values[name] for name in table.definition.key}

    def _found(self, table: Table, key: Key) -> StoredRow:
        row = table.find(key)
        if row is None:
            raise KeyError(f"{table.definition.name} has no row {key!r}.")
        return row

    def _chosen_pair(self, definition: EntityDefinition, pairs: list[list[int]]) -> int:
        if definition.modified or not pairs:
            return 0
        return self._rng.choice([place for place, (_, rec_id) in enumerate(pairs) if rec_id])

    def _retype(self, name: str, change: Callable[[tuple[Property, ...]], tuple[Property, ...]]) -> None:
        with self.lock:
            table = self._tables[name]
            entity_type: EntityType = table.definition.entity_type
            retyped = replace(entity_type, properties=change(entity_type.properties))
            table.reshape(replace(table.definition, entity_type=retyped))
            self.version += 1

    def _now(self, shift: timedelta = timedelta()) -> datetime:
        return self.clock() + shift


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


def _stamps(definition: EntityDefinition) -> list[str]:
    return [each for each in (definition.modified, definition.created) if each]


def _owners(definition: EntityDefinition, table: Table) -> list[str]:
    if not definition.is_company_scoped:
        return [""]
    place = table.layout.place[DATA_AREA_ID]
    return sorted({row[place].strip('"') for row in table.stored()})


def _touched(definition: EntityDefinition, table: Table, row: StoredRow, rng: Random) -> dict[str, Any]:
    if not definition.touch:
        return {}
    name = rng.choice(definition.touch)
    kind, literal = table.layout.kinds[name], row[table.layout.place[name]]
    if kind.name == "string":
        return {name: f"{kind.read(literal)} ({rng.randint(100, 999)})"}
    return {name: kind.read(literal) + rng.randint(1, 50)}
