"""The rows of one environment, and how they change; many threads may read and change them at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from random import Random
from typing import TYPE_CHECKING, Any

from tap_d365fo.edm.model import DATA_AREA_ID, EntityType, Property
from tap_d365fo.sandbox.table import Key, StoredRow, Table, decode_etag
from tap_d365fo.sandbox.values import FIRST_REC_ID

if TYPE_CHECKING:
    from tap_d365fo.sandbox.definition import EntityDefinition, Row

Clock = Callable[[], datetime]

_RANDOM_VERSION = 2**31 - 1


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


def _stamps(definition: EntityDefinition) -> list[str]:
    return [each for each in (definition.modified, definition.created) if each]


def _owners(definition: EntityDefinition, table: Table) -> list[str]:
    if not definition.is_company_scoped:
        return [""]
    place = table.layout.place[DATA_AREA_ID]
    return sorted({row[place].strip('"').lower() for row in table.stored()})


def _touched(definition: EntityDefinition, table: Table, row: StoredRow, rng: Random) -> dict[str, Any]:
    if not definition.touch:
        return {}
    name = rng.choice(definition.touch)
    kind, literal = table.layout.kinds[name], row[table.layout.place[name]]
    if kind.name == "string":
        return {name: f"{kind.read(literal)} ({rng.randint(100, 999)})"}
    return {name: kind.read(literal) + rng.randint(1, 50)}
