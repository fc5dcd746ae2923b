"""What sweeps remember: for each row a fingerprint of its version, in generations, one SQLite file per stream.

A sweep writes its generation over the one it started from, and keeps a journal of what stood there. The
journal leads back, and is kept until a run is given a state that names the newer generation:

- a run given the newer one drops the journal and goes on from there;
- a run given the one before undoes the journal: the target never saved the newer state;
- a run given any other, or none, finds nothing to start from and takes a snapshot. The journal then still
  leads to the generation before, for a run that was started without its state by mistake.

Rows that were told by a run whose state the target never saved, or that was killed, may be in the target though
no generation knows of them, and may be gone from it though one does. Their keys are kept as told, so that they
are told again, or told to be gone: a version may return to what it was (a joined row comes and goes, rights are
taken and given back).

So the file holds one full generation and the difference to another, never more. A generation's number carries
a random half: a state of a lost store, or of a copy that went its own way, never names rows it did not mean.

A run's changes are one transaction. Killed at any instant, SQLite rolls it back and the file is as it was.
"""

from __future__ import annotations

import contextlib
import json
import random
import re
import sqlite3
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from tap_d365fo.errors import ChangeStoreError
from tap_d365fo.extraction.store_location import StoreFile, locate
from tap_d365fo.transport.clock import Clock, SystemClock

SCHEMA_VERSION = 4
"""What is older is made anew, which costs a snapshot; what is newer is refused."""

_CACHE_KIB = 32 * 1024
_BATCH = 10_000
_LOOKUP = 900
"""Keys of one query: builds of SQLite before 3.32 take 999 parameters."""
_INSERTED = 180
"""Rows of one statement, for the same reason."""
_WORTH_SHRINKING = 256
"""Free pages (of 4 KiB) below which a file is left as it is."""

_TABLES = """
CREATE TABLE identity (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE generations (number INTEGER PRIMARY KEY, meta TEXT NOT NULL);
CREATE TABLE companies (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE);
CREATE TABLE rows (
    id INTEGER PRIMARY KEY, company INTEGER NOT NULL, hash INTEGER NOT NULL, key BLOB NOT NULL, print BLOB NOT NULL
);
CREATE INDEX rows_by_hash ON rows (hash);
CREATE TABLE journal (id INTEGER PRIMARY KEY, company INTEGER, hash INTEGER, key BLOB, print BLOB);
CREATE TABLE told (company TEXT, key BLOB, settled INTEGER, PRIMARY KEY (company, key)) WITHOUT ROWID;
"""
# `journal` holds by id what a row was before its first change; a row that was not there is an id alone.
# `told` holds keys that the target may have though no generation says so: those of runs whose state it never
# saved, until a generation settles them.

Row = tuple[bytes, bytes]
"""A key and the fingerprint of its version."""


@dataclass(frozen=True, slots=True)
class Generation:
    """One remembered sweep."""

    number: int
    """Opaque: greater than those before it in the same store, and below 2^53, so that JSON keeps it."""
    meta: Mapping[str, Any]
    """What the sweep said of itself when it committed: JSON values."""


class ChangeStore:
    """The store of one stream, held by one run while it is open."""

    def __init__(
        self, connection: sqlite3.Connection, file: StoreFile, base: Generation | None, rng: random.Random
    ) -> None:
        self.base = base
        """The generation that the given state vouches for; None where it is not held: take a snapshot."""
        self._connection = connection
        self._file = file
        self._rng = rng

    @classmethod
    @contextmanager
    def open(
        cls,
        location: str,
        *,
        environment: str,
        stream: str,
        generation: int | None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
    ) -> Iterator[ChangeStore]:
        """Open a stream's store at the generation that a state names.

        Raises ChangeStoreError for a store of another environment or stream or of a newer connector, for one in
        use by another run, and for a place or file that cannot be used, also while it is open.
        """
        rng = rng or random.SystemRandom()
        with (
            locate(location, stream, clock=clock or SystemClock(), rng=rng) as file,
            _connected(file) as connection,
        ):
            _identify(connection, {"environment": environment, "stream": stream}, file.path)
            yield cls(connection, file, _held(connection, generation), rng)

    @property
    def later(self) -> Generation | None:
        """The generation after `base`, whose state the target never saved; None where there is none."""
        if self.base is None:
            return None
        query = "SELECT number, meta FROM generations WHERE number > ? ORDER BY number DESC LIMIT 1"
        row = self._connection.execute(query, (self.base.number,)).fetchone()
        return Generation(row[0], json.loads(row[1])) if row else None

    @contextmanager
    def begin(self) -> Iterator[Draft]:
        """Begin the next generation; without `commit` nothing of it stays but the keys that were told.

        Where there is no base, the draft begins empty.
        """
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            if self.base is not None:
                _restore(self._connection, self.base.number)
                _reopen(self._connection, self.base.number)
            _take_told(self._connection, self._file.announced())
            yield Draft(self._connection, self._file, self.base, self._rng)
        finally:
            if self._connection.in_transaction:
                self._connection.rollback()


class Draft:
    """The next generation while a sweep writes it. Pages may come in any order, companies interleaved.

    Keys are compared as bytes and never put in order: order is the database's, by a collation of its own.
    """

    def __init__(
        self,
        connection: sqlite3.Connection,
        file: StoreFile,
        base: Generation | None,
        rng: random.Random,
    ) -> None:
        self._connection = connection
        self._file = file
        self._base = base
        self._rng = rng
        self._told = bool(connection.execute("SELECT 1 FROM told WHERE settled IS NULL").fetchone())
        self._ids: dict[str, int] = dict(connection.execute("SELECT name, id FROM companies").fetchall())
        self._counts: dict[int, int] = dict(
            connection.execute("SELECT company, count(*) FROM rows GROUP BY company").fetchall()
        )
        rows, journal = connection.execute(
            "SELECT coalesce((SELECT max(id) FROM rows), 0), coalesce((SELECT max(id) FROM journal), 0)"
        ).fetchone()
        self._last = int(rows)
        """The highest id of the rows that were there before; ids are never used again while a journal has them."""
        self._next = max(self._last, int(journal)) + 1
        self._seen = bytearray(self._last // 8 + 1)
        """One bit by id: a million rows take 125 kB."""
        self._seen_counts: dict[int, int] = {}
        self._moved = False
        self._unseen_are_listed = False
        held = connection.execute("SELECT count(*) FROM generations").fetchone()[0]
        self._journals = bool(held)
        self._appends = not held and not self._last
        """Whether rows are only added: to an empty store, with the index made and doubles dropped at the end."""
        if self._appends:
            connection.execute("DROP INDEX rows_by_hash")
        self._replaces = base is None
        if self._replaces:
            self._settle_all()

    # -- listing ----------------------------------------------------------------------------------------

    def compare(self, company: str, rows: Sequence[Row]) -> list[int]:
        """Note rows as listed, and return the places of those that are new or of another version, in order."""
        self._file.renew()
        if self._replaces:
            return list(range(len(rows)))
        company_id = self._company(company)
        found = self._found(company_id, [key for key, _ in rows])
        told = self._told_among(company, found) if self._told else frozenset()
        moved = []
        for place, (key, fingerprint) in enumerate(rows):
            row = found.get(key)
            if row is None:
                moved.append(place)
                continue
            self._mark(row[0], company_id)
            if row[1] != fingerprint or key in told:
                moved.append(place)
        return moved

    def see(self, company: str, keys: Sequence[bytes]) -> list[bytes]:
        """Note keys as listed, whatever their version, and return those that are not remembered."""
        self._file.renew()
        company_id = self._company(company)
        found = self._found(company_id, keys)
        for row_id, _ in found.values():
            self._mark(row_id, company_id)
        return [key for key in keys if key not in found]

    def companies(self) -> list[str]:
        """Return the legal entities of which rows are remembered from before."""
        return sorted(name for name in self._ids if self.base_count(name))

    def base_count(self, company: str) -> int:
        """Return how many rows of a legal entity were remembered before this draft."""
        return 0 if self._replaces else self._counts.get(self._ids.get(company, -1), 0)

    def seen_count(self, company: str) -> int:
        """Return how many of those have been listed or remembered since."""
        return 0 if self._replaces else self._seen_counts.get(self._ids.get(company, -1), 0)

    def unseen(self, company: str) -> Iterator[bytes]:
        """Yield the keys that were remembered before and have not been listed; they may be forgotten meanwhile."""
        if self.seen_count(company) < self.base_count(company):
            for _, key in self._unseen(self._ids[company]):
                yield key

    def told_companies(self) -> list[str]:
        """Return the legal entities of which keys were told that are not remembered."""
        rows = self._connection.execute("SELECT DISTINCT company FROM told WHERE settled IS NULL").fetchall()
        return sorted(name for (name,) in rows)

    def told(self, company: str) -> Iterator[bytes]:
        """Yield keys that runs told whose state the target never saved, and that are not remembered now.

        The target may have them. Those that have been listed meanwhile are remembered, so what is left is gone.
        """
        if not self._told:
            return
        after = b""
        while rows := self._connection.execute(
            "SELECT key FROM told WHERE company = ? AND settled IS NULL AND key > ? ORDER BY key LIMIT ?",
            (company, after, _BATCH),
        ).fetchall():
            keys = [key for (key,) in rows]
            found = self._found(self._company(company), keys)
            yield from (key for key in keys if key not in found)
            after = keys[-1]

    def _told_among(self, company: str, keys: Iterable[bytes]) -> frozenset[bytes]:
        rest, told = iter(keys), set[bytes]()
        while batch := list(islice(rest, _LOOKUP)):
            marks = ",".join("?" * len(batch))
            rows = self._connection.execute(
                f"SELECT key FROM told WHERE settled IS NULL AND company = ? AND key IN ({marks})",  # noqa: S608  question marks
                (company, *batch),
            )
            told.update(key for (key,) in rows)
        return frozenset(told)

    def _settle(self, company: str, keys: Iterable[bytes]) -> None:
        """Note that this generation says of keys what they are, so that they are not told of without it."""
        if self._told:
            settled = self._connection.executemany(
                "UPDATE told SET settled = ? WHERE company = ? AND key = ? AND settled IS NULL",
                ((_THIS, company, key) for key in keys),
            )
            self._moved = self._moved or settled.rowcount > 0

    def _settle_all(self) -> None:
        """Note that this generation is a snapshot, after which the target holds nothing else."""
        self._connection.execute("UPDATE told SET settled = ? WHERE settled IS NULL", (_THIS,))
        self._moved, self._told = self._moved or self._told, False

    # -- remembering ------------------------------------------------------------------------------------

    def remember(self, company: str, rows: Iterable[Row]) -> None:
        """Remember the versions that were handed on; of a key's several the last."""
        company_id = self._company(company)
        rest = iter(rows)
        while batch := list(islice(rest, _BATCH)):
            self._file.renew()
            if self._appends:
                self._add(company_id, batch)
            else:
                self._put(company, company_id, dict(batch))

    def forget(self, company: str, keys: Iterable[bytes]) -> None:
        """Forget keys that are gone."""
        company_id = self._company(company)
        rest = iter(keys)
        while batch := list(islice(rest, _BATCH)):
            self._file.renew()
            found = self._found(company_id, batch)
            self._announce(company, found)
            self._settle(company, batch)
            self._drop([row_id for row_id, _ in found.values()])

    def forget_all(self) -> None:
        """Forget everything, also what this draft remembered so far: a snapshot follows.

        From here on nothing is compared: `compare` returns all places, and there are no rows of before.
        """
        if self._appends:
            self._connection.execute("DELETE FROM rows")
        else:
            rows = self._connection.execute("SELECT id FROM rows WHERE id > ?", (self._last,)).fetchall()
            self._drop([row_id for (row_id,) in rows])
        self._seen = bytearray(self._last // 8 + 1)
        self._seen_counts.clear()
        self._unseen_are_listed = False
        self._replaces = True
        self._settle_all()

    def commit(self, meta: Mapping[str, Any]) -> int:
        """Make this generation the store's current one and return its number: the base's where nothing moved.

        It is in its place when this returns, the remote one included; raises ChangeStoreError where it is not.
        """
        if self._appends:
            self._index()
        if self._replaces:
            self._drop_replaced()
        text = json.dumps(dict(meta), sort_keys=True)
        if self._base is not None and not self._moved and text == json.dumps(self._base.meta, sort_keys=True):
            self._connection.rollback()
            return self._base.number
        number = self._number()
        execute = self._connection.execute
        execute("UPDATE told SET settled = ? WHERE settled = ?", (number, _THIS))
        # Without a base the journal still leads to the older of two: a run was given that one.
        keep = "(SELECT min(number) FROM generations)" if self._base is None else str(self._base.number)
        execute(f"DELETE FROM generations WHERE number <> {keep}")  # noqa: S608  a number of our own
        execute("INSERT INTO generations VALUES (?, ?)", (number, text))
        execute(f"PRAGMA user_version = {number & 0x7FFFFFFF}")  # the mark in the file's header
        self._connection.commit()
        self._shrink()
        self._file.save()
        return number

    def _number(self) -> int:
        """Return a number that no store has used: a count, and a random half."""
        (last,) = self._connection.execute("SELECT value FROM identity WHERE name = 'last'").fetchone()
        self._connection.execute("UPDATE identity SET value = ? WHERE name = 'last'", (str(int(last) + 1),))
        return (int(last) + 1) << 32 | self._rng.getrandbits(32)

    def _shrink(self) -> None:
        """Give back the room of a dropped journal, where it is more than a third of the file."""
        (free,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (pages,) = self._connection.execute("PRAGMA page_count").fetchone()
        if free > max(pages // 3, _WORTH_SHRINKING):
            with contextlib.suppress(sqlite3.OperationalError):  # no room for the copy: some other time
                self._connection.execute("VACUUM")

    # -- rows -------------------------------------------------------------------------------------------

    def _company(self, name: str) -> int:
        if name not in self._ids:
            cursor = self._connection.execute("INSERT INTO companies (name) VALUES (?)", (name,))
            self._ids[name] = int(cursor.lastrowid or 0)
        return self._ids[name]

    def _found(self, company_id: int, keys: Sequence[bytes]) -> dict[bytes, tuple[int, bytes]]:
        """Return id and fingerprint of the remembered ones among keys."""
        if self._appends:
            self._index()
        wanted = set(keys)  # keys that share a hash come along unasked
        found: dict[bytes, tuple[int, bytes]] = {}
        for start in range(0, len(keys), _LOOKUP):
            hashes = [_hash(key) for key in keys[start : start + _LOOKUP]]
            marks = ",".join("?" * len(hashes))
            rows = self._connection.execute(
                f"SELECT id, company, key, print FROM rows WHERE hash IN ({marks})",  # noqa: S608  question marks
                hashes,
            )
            for row_id, of_company, key, print_ in rows:
                if of_company == company_id and key in wanted:
                    found[key] = (row_id, print_)
        return found

    def _mark(self, row_id: int, company_id: int) -> None:
        place, bit = row_id >> 3, 1 << (row_id & 7)
        if row_id <= self._last and not self._seen[place] & bit:
            self._seen[place] |= bit
            self._seen_counts[company_id] = self._seen_counts.get(company_id, 0) + 1

    def _is_seen(self, row_id: int) -> bool:
        return bool(self._seen[row_id >> 3] >> (row_id & 7) & 1)

    def _add(self, company_id: int, rows: Sequence[Row]) -> None:
        first = self._next
        self._next += len(rows)
        self._moved = True
        # Many rows in one statement: each statement lets other threads in, and has to wait for them.
        for start in range(0, len(rows), _INSERTED):
            values: list[object] = []
            for place, (key, print_) in enumerate(rows[start : start + _INSERTED], start=first + start):
                values += (place, company_id, _hash(key), key, print_)
            marks = ",".join(["(?,?,?,?,?)"] * (len(values) // 5))
            self._connection.execute(f"INSERT INTO rows VALUES {marks}", values)  # noqa: S608  question marks

    def _put(self, company: str, company_id: int, prints: Mapping[bytes, bytes]) -> None:
        found = self._found(company_id, list(prints))
        added = [(key, print_) for key, print_ in prints.items() if key not in found]
        self._announce(company, prints)
        self._settle(company, prints)
        changed = []
        for key, (row_id, print_) in found.items():
            self._mark(row_id, company_id)
            if prints[key] != print_:
                changed.append((prints[key], row_id))
        self._keep([row_id for _, row_id in changed])
        self._connection.executemany("UPDATE rows SET print = ? WHERE id = ?", changed)
        if added:
            if self._journals:
                ids = range(self._next, self._next + len(added))
                self._connection.executemany("INSERT INTO journal (id) VALUES (?)", ((each,) for each in ids))
            self._add(company_id, added)

    def _announce(self, company: str, keys: Iterable[bytes]) -> None:
        """Write down keys before they are handed on: should this run end before its commit, they were told."""
        if self._journals:
            lines = [json.dumps([company, key.decode("latin-1")]).encode() + b"\n" for key in keys]
            if lines:
                self._file.announce(b"".join(lines))

    def _drop(self, ids: Sequence[int]) -> None:
        self._keep(ids)
        if self._journals:
            # Rows that the generation which the journal leads to never knew, but runs since then told.
            self._connection.executemany(
                "INSERT OR IGNORE INTO told SELECT companies.name, rows.key, ? FROM rows"
                " JOIN journal ON journal.id = rows.id AND journal.print IS NULL"
                " JOIN companies ON companies.id = rows.company WHERE rows.id = ?",
                ((_THIS, each) for each in ids),
            )
        self._connection.executemany("DELETE FROM rows WHERE id = ?", ((each,) for each in ids))

    def _keep(self, ids: Sequence[int]) -> None:
        """Keep in the journal what rows are before their first change."""
        self._moved = self._moved or bool(ids)
        if self._journals:
            self._connection.executemany(
                "INSERT OR IGNORE INTO journal SELECT * FROM rows WHERE id = ?", ((each,) for each in ids)
            )

    def _index(self) -> None:
        """End the time of adding only: of a key that a snapshot read twice the last version stays."""
        self._appends = False
        self._connection.execute("CREATE INDEX rows_by_hash ON rows (hash)")
        self._connection.execute(
            "DELETE FROM rows WHERE id IN (SELECT earlier.id FROM rows earlier JOIN rows later"
            " ON later.hash = earlier.hash AND later.id > earlier.id"
            " AND later.key = earlier.key AND later.company = earlier.company"
            " WHERE earlier.hash IN (SELECT hash FROM rows GROUP BY hash HAVING count(*) > 1))"
        )

    def _drop_replaced(self) -> None:
        """Drop the rows of before that a snapshot did not bring again."""
        if sum(self._seen_counts.values()) < sum(self._counts.values()):
            for company_id in self._counts:
                rows = self._unseen(company_id)
                while batch := [row_id for row_id, _ in islice(rows, _BATCH)]:
                    self._drop(batch)

    def _unseen(self, company_id: int) -> Iterator[tuple[int, bytes]]:
        self._list_unseen()
        after = 0
        # In pieces, by id: the caller may forget keys and list others while it takes them.
        while rows := self._connection.execute(
            "SELECT rows.id, rows.key FROM unseen CROSS JOIN rows ON rows.id = unseen.id"
            " WHERE unseen.company = ? AND unseen.id > ? ORDER BY unseen.id LIMIT ?",
            (company_id, after, _BATCH),
        ).fetchall():
            yield from (row for row in rows if not self._is_seen(row[0]))
            after = rows[-1][0]

    def _list_unseen(self) -> None:
        """Set down once, by company, the rows of before that have no bit: more are never added."""
        if self._unseen_are_listed:
            return
        self._unseen_are_listed = True
        execute = self._connection.execute
        execute("DROP TABLE IF EXISTS temp.unseen")
        execute("CREATE TEMP TABLE unseen (company, id, PRIMARY KEY (company, id)) WITHOUT ROWID")
        rows = execute("SELECT company, id FROM rows WHERE id <= ?", (self._last,))
        self._connection.executemany(
            "INSERT INTO unseen VALUES (?, ?)", (row for row in rows if not self._is_seen(row[1]))
        )


def _hash(key: bytes) -> int:
    """Return a number that SQLite stores in four bytes."""
    return zlib.crc32(key) - 0x80000000


# -- the file -----------------------------------------------------------------------------------------------


@contextmanager
def _connected(file: StoreFile) -> Iterator[sqlite3.Connection]:
    """Yield a connection that holds the file for this process alone; SQLite's errors become ours."""
    try:
        with contextlib.closing(
            sqlite3.connect(file.path, timeout=0, isolation_level=None, check_same_thread=False)
        ) as connection:  # closing rolls back what is not committed
            if file.is_shared:
                # Held across transactions; the system lets go of it when the process dies.
                connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
            yield connection
    except sqlite3.Error as exc:
        raise _told(exc, file.path) from exc


_TOLD: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile("locked"),
        "is in use by another run",
        "Wait for that run to end: two runs of one stream cannot share a store.",
    ),
    (
        re.compile("not a database|malformed|no such (table|column)"),
        "is not a change store, or is damaged",
        "Move the file away; the next run takes a snapshot.",
    ),
    (re.compile("full"), "has no room", "Make room for it; the next run starts from the state it is given."),
    (re.compile(""), "cannot be used", "Check the setting change_store and the rights of the folder."),
)


def _told(exc: sqlite3.Error, path: Path) -> ChangeStoreError:
    _, what, remedy = next(row for row in _TOLD if row[0].search(str(exc)))
    return ChangeStoreError(f"The change store {path} {what} ({exc}).", remedy=remedy)


def _identify(connection: sqlite3.Connection, identity: Mapping[str, str], path: Path) -> None:
    """Sign a new store; refuse one of another environment, a newer connector, or another program."""
    connection.execute("BEGIN EXCLUSIVE")
    tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
    if not tables:
        _create(connection, identity)
    else:
        found = dict(connection.execute("SELECT name, value FROM identity").fetchall())
        _check(found, identity, path)
        if int(found["schema"]) < SCHEMA_VERSION:
            for name in tables:
                connection.execute(f'DROP TABLE IF EXISTS "{name}"')
            _create(connection, identity)
    connection.commit()


def _check(found: Mapping[str, str], identity: Mapping[str, str], path: Path) -> None:
    if not found.get("schema", "").isdigit():
        raise ChangeStoreError(
            f"The change store {path} does not say who wrote it.",
            remedy="Move the file away; the next run takes a snapshot.",
        )
    if int(found["schema"]) > SCHEMA_VERSION:
        raise ChangeStoreError(
            f"The change store {path} was written by a newer version of this connector (its schema is "
            f"{found['schema']}, this version knows {SCHEMA_VERSION}).",
            remedy="Upgrade the connector, or use another change_store.",
        )
    for name, value in identity.items():
        if found.get(name) != value:
            raise ChangeStoreError(
                f"The change store {path} belongs to {name} {found.get(name)}, not to {value}.",
                remedy="Use a change_store of its own for each environment.",
            )


def _create(connection: sqlite3.Connection, identity: Mapping[str, str]) -> None:
    for statement in filter(str.strip, _TABLES.split(";")):
        connection.execute(statement)
    values = {"schema": str(SCHEMA_VERSION), "last": "0", **identity}
    connection.executemany("INSERT INTO identity VALUES (?, ?)", values.items())


def _held(connection: sqlite3.Connection, generation: object) -> Generation | None:
    """Return the generation that a state names, whatever it names it with."""
    if not isinstance(generation, int):
        return None
    for number, meta in connection.execute("SELECT number, meta FROM generations"):
        if number == generation:
            return Generation(number, json.loads(meta))
    return None


_THIS = -1
"""Stands for the number of the generation that is being written."""


def _restore(connection: sqlite3.Connection, number: int) -> None:
    """Bring the rows to a generation; those older and newer are dropped with the transaction's commit.

    What was new, changed or gone in the newer one may have reached the target, though it never saved the
    state that says so.
    """
    (newest,) = connection.execute("SELECT max(number) FROM generations").fetchone()
    if number != newest:
        connection.execute(
            "INSERT OR REPLACE INTO told SELECT companies.name, rows.key, NULL FROM rows"
            " JOIN companies ON companies.id = rows.company WHERE rows.id IN (SELECT id FROM journal)"
        )
        connection.execute(
            "INSERT OR REPLACE INTO told SELECT companies.name, journal.key, NULL FROM journal"
            " JOIN companies ON companies.id = journal.company WHERE print IS NOT NULL"
        )
        connection.execute("DELETE FROM rows WHERE id IN (SELECT id FROM journal)")
        connection.execute("INSERT INTO rows SELECT * FROM journal WHERE print IS NOT NULL")
    connection.execute("DELETE FROM journal")
    connection.execute("DELETE FROM generations WHERE number <> ?", (number,))


def _reopen(connection: sqlite3.Connection, number: int) -> None:
    """Drop the told keys that a generation settles, and open those that a later one had settled."""
    connection.execute("DELETE FROM told WHERE settled <= ?", (number,))
    connection.execute("UPDATE told SET settled = NULL WHERE settled IS NOT NULL")


def _take_told(connection: sqlite3.Connection, announced: Iterable[bytes]) -> None:
    """Add the keys that runs told which ended before their commit."""
    for line in announced:
        try:
            company, key = json.loads(line)
        except ValueError:  # cut off by a kill or a full disk, and so never told
            continue
        connection.execute(
            "INSERT OR REPLACE INTO told VALUES (?, ?, NULL)", (company, key.encode("latin-1"))
        )
