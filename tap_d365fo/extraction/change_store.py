"""What sweeps remember: for each row a fingerprint of its version, in generations, one SQLite file per stream.

A sweep changes the rows in one transaction and keeps a journal of what they were. The journal leads back to
the generation before, which stays reachable until a run is given a state that names the newer one:

- a run given the current generation drops the journal and goes on from there;
- a run given the one before undoes the journal first: the target never saved the newer state;
- a run given any other finds nothing here and takes a snapshot.

Numbers are never used twice, so that a state can never name rows it did not mean. Killed at any instant,
SQLite rolls the transaction back and the file is as it was.
"""

from __future__ import annotations

import json
import sqlite3
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.errors import ChangeStoreError
from tap_d365fo.extraction.store_location import StoreFile, locate

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

SCHEMA_VERSION = 1
_CACHE_KIB = 32 * 1024
_BATCH = 20_000

_TABLES = """
CREATE TABLE IF NOT EXISTS identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS generations (number INTEGER PRIMARY KEY, meta TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS companies (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE IF NOT EXISTS rows (
    id INTEGER PRIMARY KEY, company INTEGER NOT NULL, hash INTEGER NOT NULL, key BLOB NOT NULL, print BLOB NOT NULL
);
CREATE INDEX IF NOT EXISTS rows_by_hash ON rows (hash);
CREATE TABLE IF NOT EXISTS journal (
    hash INTEGER NOT NULL, company INTEGER NOT NULL, key BLOB NOT NULL, print BLOB,
    PRIMARY KEY (hash, company, key)
) WITHOUT ROWID;
CREATE TEMP TABLE listed (place INTEGER PRIMARY KEY, hash INTEGER, key BLOB, print BLOB);
"""

Row = tuple[bytes, bytes]
"""A key and the fingerprint of its version."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One remembered sweep."""

    number: int
    meta: Mapping[str, Any]


class ChangeStore:
    """The store of one stream, held exclusively while it is open."""

    def __init__(self, connection: sqlite3.Connection, file: StoreFile, base: Generation | None) -> None:
        self.base = base
        """The generation that the given state vouches for, None where it is not held: take a snapshot."""
        self._connection = connection
        self._file = file

    @classmethod
    @contextmanager
    def open(
        cls, location: str, *, environment: str, stream: str, generation: int | None
    ) -> Iterator[ChangeStore]:
        """Open a stream's store at the generation that a state names.

        Raises ChangeStoreError for a store of another environment or a newer connector, one in use by another
        run, and a location that cannot be written.
        """
        with locate(location, stream) as file:
            connection = _connect(file.path)
            try:
                _identify(connection, {"environment": environment, "stream": stream})
                base = _at(connection, generation)
                yield cls(connection, file, base)
            finally:
                connection.rollback()
                connection.close()

    @contextmanager
    def begin(self) -> Iterator[Draft]:
        """Begin the next generation; without `commit` nothing of it stays."""
        yield Draft(self._connection, self._file, None if self.base is None else self.base.number)


class Draft:
    """The next generation while a sweep writes it."""

    def __init__(self, connection: sqlite3.Connection, file: StoreFile, base: int | None) -> None:
        self._connection = connection
        self._file = file
        self._base = base
        self._journals = base is not None
        self._ids: dict[str, int] = dict(connection.execute("SELECT name, id FROM companies").fetchall())
        self._counts: dict[int, int] = dict(
            connection.execute("SELECT company, count(*) FROM rows GROUP BY company").fetchall()
        )
        (last,) = connection.execute("SELECT coalesce(max(id), 0) FROM rows").fetchone()
        self._last = int(last)
        self._seen = bytearray(self._last // 8 + 1)
        self._seen_counts: dict[int, int] = {}

    def compare(self, company: str, rows: Sequence[Row]) -> list[int]:
        """Note rows as listed, and return the places of those that are new or of another version."""
        company_id = self._company(company)
        self._connection.execute("DELETE FROM listed")
        self._connection.executemany(
            "INSERT INTO listed VALUES (?, ?, ?, ?)",
            ((place, zlib.crc32(key), key, fingerprint) for place, (key, fingerprint) in enumerate(rows)),
        )
        found = self._connection.execute(
            "SELECT l.place, r.id, r.print IS l.print FROM listed l LEFT JOIN rows r"
            " ON r.hash = l.hash AND r.key = l.key AND r.company = ? ORDER BY l.place",
            (company_id,),
        )
        moved: dict[int, None] = {}
        for place, row_id, is_same in found:
            if row_id is not None:
                self._mark(row_id, company_id)
            if not is_same:
                moved[place] = None  # a key that a snapshot read twice stands there twice
        return list(moved)

    def _mark(self, row_id: int, company_id: int) -> None:
        if row_id <= self._last and not self._seen[row_id >> 3] >> (row_id & 7) & 1:
            self._seen[row_id >> 3] |= 1 << (row_id & 7)
            self._seen_counts[company_id] = self._seen_counts.get(company_id, 0) + 1

    def remember(self, company: str, rows: Iterable[Row]) -> None:
        """Remember the versions that were handed on."""
        company_id = self._company(company)
        values = [(zlib.crc32(key), company_id, key, fingerprint) for key, fingerprint in rows]
        for start in range(0, len(values), _BATCH):
            self._remember(values[start : start + _BATCH])

    def _remember(self, values: list[tuple[int, int, bytes, bytes]]) -> None:
        if not self._journals and not self._last:
            # A snapshot: nothing stands there but what this draft wrote, doubles of the read's overlap included.
            self._connection.executemany(
                "INSERT INTO rows (hash, company, key, print) VALUES (?, ?, ?, ?)", values
            )
            return
        where = [value[:3] for value in values]
        self._journal(where)
        for each in where:
            found = self._connection.execute(
                "SELECT id FROM rows WHERE hash = ? AND company = ? AND key = ?", each
            ).fetchone()
            if found:
                self._mark(found[0], each[1])
        self._delete(where)
        self._connection.executemany(
            "INSERT INTO rows (hash, company, key, print) VALUES (?, ?, ?, ?)", values
        )

    def forget(self, company: str, keys: Iterable[bytes]) -> None:
        """Forget keys that are gone."""
        company_id = self._company(company)
        where = [(zlib.crc32(key), company_id, key) for key in keys]
        self._journal(where)
        self._delete(where)

    def forget_all(self) -> None:
        """Forget everything: a snapshot follows, and nothing leads back behind it."""
        for table in ("rows", "journal", "companies", "generations"):
            self._connection.execute(f"DELETE FROM {table}")  # noqa: S608  names of our own
        self._journals, self._base, self._last = False, None, 0
        self._ids, self._counts, self._seen = {}, {}, bytearray(1)

    def _journal(self, where: list[tuple[int, int, bytes]]) -> None:
        """Keep what stood there, for the first change of each key."""
        if self._journals:
            self._connection.executemany(
                "INSERT OR IGNORE INTO journal SELECT ?1, ?2, ?3,"
                " (SELECT print FROM rows WHERE hash = ?1 AND company = ?2 AND key = ?3)",
                where,
            )

    def _delete(self, where: list[tuple[int, int, bytes]]) -> None:
        self._connection.executemany("DELETE FROM rows WHERE hash = ? AND company = ? AND key = ?", where)

    def companies(self) -> list[str]:
        """Return the legal entities of which rows are remembered from before."""
        return sorted(name for name, company_id in self._ids.items() if self._counts.get(company_id))

    def base_count(self, company: str) -> int:
        """Return how many rows of a legal entity were remembered before this draft."""
        return self._counts.get(self._ids.get(company, -1), 0)

    def unseen(self, company: str) -> Iterator[bytes]:
        """Yield the keys that were remembered before and have not been listed."""
        company_id = self._ids.get(company, -1)
        if self._seen_counts.get(company_id, 0) >= self._counts.get(company_id, 0):
            return
        seen, last = self._seen, self._last
        after = 0
        while True:
            # In pieces by id: the caller forgets keys while it takes them.
            rows = self._connection.execute(
                "SELECT id, company, key FROM rows WHERE id > ? AND id <= ? ORDER BY id LIMIT ?",
                (after, last, _BATCH),
            ).fetchall()
            if not rows:
                return
            for row_id, of_company, key in rows:
                if of_company == company_id and not seen[row_id >> 3] >> (row_id & 7) & 1:
                    yield key
            after = rows[-1][0]

    def commit(self, meta: Mapping[str, Any]) -> int:
        """Make this generation the store's current one and return its number."""
        execute = self._connection.execute
        (last,) = execute("SELECT value FROM identity WHERE name = 'last'").fetchone()
        number = int(last) + 1
        execute("UPDATE identity SET value = ? WHERE name = 'last'", (str(number),))
        execute("INSERT INTO generations VALUES (?, ?)", (number, json.dumps(dict(meta), sort_keys=True)))
        self._connection.commit()
        self._connection.execute("BEGIN EXCLUSIVE")
        self._file.saved(self._connection)
        return number

    def _company(self, name: str) -> int:
        if name not in self._ids:
            cursor = self._connection.execute("INSERT INTO companies (name) VALUES (?)", (name,))
            self._ids[name] = int(cursor.lastrowid or 0)
        return self._ids[name]


def _connect(path: Path) -> sqlite3.Connection:
    """Open a file and take it for ourselves; the lock dies with the process."""
    try:
        connection = sqlite3.connect(path, timeout=0, isolation_level=None, check_same_thread=False)
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        connection.execute("PRAGMA temp_store = MEMORY")
        connection.execute("BEGIN EXCLUSIVE")
        for statement in _TABLES.split(";"):
            if statement.strip():
                connection.execute(statement)
    except sqlite3.OperationalError as exc:
        if "locked" in str(exc):
            raise ChangeStoreError(
                f"The change store {path.name} is in use by another run.",
                remedy="Wait for that run to end: two runs of one stream cannot share a store.",
            ) from exc
        raise ChangeStoreError(
            f"The change store {path} cannot be opened: {exc}.",
            remedy="Check the setting change_store and its rights.",
        ) from exc
    except sqlite3.DatabaseError as exc:
        raise ChangeStoreError(
            f"{path} is not a change store ({exc}).",
            remedy="Move the file away; the next run takes a snapshot.",
        ) from exc
    return connection


def _identify(connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
    """Refuse a store that is another environment's or a newer connector's; sign a new one."""
    found = dict(connection.execute("SELECT name, value FROM identity").fetchall())
    if not found:
        values = {"schema": str(SCHEMA_VERSION), "last": "0", **identity}
        connection.executemany("INSERT INTO identity VALUES (?, ?)", values.items())
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")
        return
    if int(found.get("schema", 0)) > SCHEMA_VERSION:
        raise ChangeStoreError(
            f"The change store was written by a newer version of this connector (schema {found['schema']}).",
            remedy="Upgrade the connector, or use another change_store.",
        )
    for name, value in identity.items():
        if found.get(name) != value:
            raise ChangeStoreError(
                f"The change store belongs to {name} {found.get(name)}, not to {value}.",
                remedy="Use a change_store of its own for each environment.",
            )


def _at(connection: sqlite3.Connection, generation: int | None) -> Generation | None:
    """Bring the rows to a generation, and drop what is older and newer."""
    held = connection.execute("SELECT number, meta FROM generations ORDER BY number DESC LIMIT 2").fetchall()
    numbers = [number for number, _ in held]
    if generation is None or generation not in numbers:
        return None
    if generation == numbers[0]:
        connection.execute("DELETE FROM journal")
    else:
        _undo(connection)
    connection.execute("DELETE FROM generations WHERE number <> ?", (generation,))
    return Generation(generation, json.loads(dict(held)[generation]))


def _undo(connection: sqlite3.Connection) -> None:
    connection.execute(
        "DELETE FROM rows WHERE id IN (SELECT r.id FROM rows r JOIN journal j"
        " ON r.hash = j.hash AND r.company = j.company AND r.key = j.key)"
    )
    connection.execute(
        "INSERT INTO rows (hash, company, key, print)"
        " SELECT hash, company, key, print FROM journal WHERE print IS NOT NULL"
    )
    connection.execute("DELETE FROM journal")
