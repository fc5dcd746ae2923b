"""What sweeps remember: exact for every generation that a state can name, whatever happens in between."""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import zlib
from datetime import datetime, timedelta, timezone
from pathlib import Path

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test

from tap_d365fo.errors import ChangeStoreError
from tap_d365fo.extraction import change_store
from tap_d365fo.extraction.change_store import SCHEMA_VERSION, ChangeStore
from tap_d365fo.extraction.store_location import LOCK_SECONDS

ENVIRONMENT = "https://contoso.operations.dynamics.com"
STREAM = "CustomersV3"
FILE = f"{STREAM}.sqlite"
OLD, NEW = b"version1", b"version2"


def opened(location, generation, **others):
    names = {"environment": ENVIRONMENT, "stream": STREAM, **others}
    return ChangeStore.open(str(location), generation=generation, **names)


def run(location, generation, *, put=(), gone=(), company="usmf", meta=None, **others) -> int:
    """One run that remembers and forgets, and commits."""
    with opened(location, generation, **others) as store, store.begin() as draft:
        draft.remember(company, put)
        draft.forget(company, gone)
        return draft.commit(meta or {})


def rows_of(count: int, fingerprint: bytes = OLD) -> list[tuple[bytes, bytes]]:
    return [(b'["usmf","US-%06d"]' % number, fingerprint) for number in range(count)]


def remembers(location, generation, rows, company="usmf") -> bool:
    """Say whether a generation remembers these rows of a company and no others."""
    with opened(location, generation) as store, store.begin() as draft:
        return (
            store.base is not None
            and draft.base_count(company) == len(rows)
            and rows_in(draft, company) == dict(rows)
            and draft.see(company, [key for key, _ in rows]) == []
            and list(draft.unseen(company)) == []
        )


def rows_in(draft, company) -> dict[bytes, bytes]:
    """Return what a draft holds of a company now."""
    query = "SELECT key, print FROM rows JOIN companies ON companies.id = rows.company WHERE name = ?"
    return dict(draft._connection.execute(query, (company,)).fetchall())


def told_in(draft, company) -> set[bytes]:
    """Return the keys of a company that a target may have otherwise than the base says."""
    query = "SELECT key FROM told WHERE settled IS NULL AND company = ?"
    return {key for (key,) in draft._connection.execute(query, (company,))}


def is_held(location, generation) -> bool:
    with opened(location, generation) as store:
        return store.base is not None


@pytest.fixture
def memory():
    """An empty place behind a URL."""
    file_system = fsspec.filesystem("memory")
    file_system.store.clear()
    yield file_system
    file_system.store.clear()


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime(2026, 3, 1, tzinfo=timezone.utc) + timedelta(seconds=self.seconds)


# -- generations --------------------------------------------------------------------------------------------


def test_a_state_that_was_never_saved_brings_the_generation_before_back(tmp_path):
    first = run(tmp_path, None, put=[(b"kept", OLD), (b"changed", OLD), (b"gone", OLD)])
    run(tmp_path, first, put=[(b"changed", NEW), (b"added", NEW)], gone=[b"gone"])
    run(tmp_path, first, put=[(b"kept", NEW)], gone=[b"changed"])
    run(tmp_path, first, gone=[b"kept", b"changed", b"gone"])

    rows = [(b"kept", OLD), (b"changed", OLD), (b"gone", OLD)]
    assert remembers(tmp_path, first, rows)


def test_a_generation_is_dropped_when_a_run_was_given_a_later_one(tmp_path):
    first = run(tmp_path, None, put=rows_of(3))
    second = run(tmp_path, first, put=rows_of(4))
    run(tmp_path, second, put=rows_of(5))

    assert not is_held(tmp_path, first)
    assert remembers(tmp_path, second, rows_of(4))


def test_a_run_that_was_started_without_its_state_costs_the_one_with_it_nothing(tmp_path):
    first = run(tmp_path, None, put=rows_of(3))
    second = run(tmp_path, first, put=rows_of(4))
    run(tmp_path, second, put=rows_of(5))
    for count in (2, 9):
        run(tmp_path, None, put=rows_of(count, NEW))

    assert remembers(tmp_path, second, rows_of(4))


def test_a_snapshot_without_a_base_remembers_what_it_read_and_nothing_else(tmp_path):
    run(tmp_path, None, put=rows_of(5))

    snapshot = run(tmp_path, None, put=[*rows_of(2, NEW), *rows_of(1)])

    assert remembers(tmp_path, snapshot, [*rows_of(1), rows_of(2, NEW)[1]])


def test_a_draft_without_a_base_compares_with_nothing(tmp_path):
    run(tmp_path, None, put=rows_of(3))

    with opened(tmp_path, None) as store, store.begin() as draft:
        assert draft.compare("usmf", rows_of(3)) == [0, 1, 2]
        assert draft.companies() == []
        assert draft.base_count("usmf") == draft.seen_count("usmf") == 0
        assert list(draft.unseen("usmf")) == []


def test_a_draft_that_is_left_leaves_no_rows_behind(tmp_path):
    first = run(tmp_path, None, put=rows_of(3), meta={"pairs": 2})

    with opened(tmp_path, first) as store:
        with store.begin() as draft:
            draft.remember("demf", rows_of(9, NEW))
            draft.forget("usmf", [key for key, _ in rows_of(3)])
        with store.begin() as draft:
            assert rows_in(draft, "usmf") == dict(rows_of(3))
            second = draft.commit({"pairs": 3})

    assert remembers(tmp_path, second, rows_of(3))
    assert remembers(tmp_path, first, rows_of(3))


def test_one_open_store_may_commit_more_than_once(tmp_path):
    first = run(tmp_path, None, put=rows_of(3))

    with opened(tmp_path, first) as store:
        for count in (4, 5):
            with store.begin() as draft:
                draft.remember("usmf", rows_of(count))
                last = draft.commit({})

    assert remembers(tmp_path, last, rows_of(5))


def test_a_sweep_in_which_nothing_moved_is_the_generation_it_started_from(tmp_path):
    first = run(tmp_path, None, put=rows_of(3), meta={"pairs": 2})
    before = (tmp_path / FILE).read_bytes()

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert draft.compare("usmf", rows_of(3)) == []
        again = draft.commit({"pairs": 2})

    assert again == first
    assert (tmp_path / FILE).read_bytes() == before
    assert run(tmp_path, first, meta={"pairs": 3}) != first


def test_what_a_sweep_says_of_itself_comes_back_with_its_generation(tmp_path):
    meta = {"mode": "etag", "pairs": 11, "columns": ["dataAreaId", "Größe"], "companies": {"usmf": 3}}
    first = run(tmp_path, None, put=rows_of(3), meta=meta)
    second = run(tmp_path, first, meta={"mode": "row"})

    with opened(tmp_path, first) as store:
        assert store.base is not None
        assert (store.base.number, store.base.meta) == (first, meta)
    with opened(tmp_path, second) as store:
        assert store.base is not None
        assert store.base.meta == {"mode": "row"}


def test_a_state_of_a_lost_store_never_names_rows_of_the_new_one(tmp_path):
    lost = [number := None, *((number := run(tmp_path, number, put=rows_of(each))) for each in range(1, 5))]
    (tmp_path / FILE).unlink()

    for each in range(10, 20):
        run(tmp_path, lost[-1], put=rows_of(each))
        assert not any(is_held(tmp_path, number) for number in lost)


def test_numbers_rise_and_survive_json_of_any_reader(tmp_path):
    numbers = [number := run(tmp_path, None, put=rows_of(1))]
    numbers += [number := run(tmp_path, number, put=rows_of(each)) for each in range(2, 6)]

    assert numbers == sorted(set(numbers))
    assert int(float(numbers[-1])) == numbers[-1]
    assert numbers[-1] < 2**53


@pytest.mark.parametrize("generation", [None, 0, 1, True, -1, 2**70, 1.5, "1", [], {}], ids=repr)
def test_what_is_no_generation_of_the_store_means_a_snapshot(tmp_path, generation):
    run(tmp_path, None, put=rows_of(1))

    with opened(tmp_path, generation) as store:
        assert store.base is None


# -- rows ---------------------------------------------------------------------------------------------------


def same_hash() -> tuple[bytes, bytes]:
    """Two keys that the store's index cannot tell apart."""
    seen: dict[int, bytes] = {}
    for number in range(1_000_000):
        key = b'["usmf","%016x"]' % (number * 0x9E3779B97F4A7C15 % 2**64)  # far apart: near ones never share
        if zlib.crc32(key) in seen:
            return seen[zlib.crc32(key)], key
        seen[zlib.crc32(key)] = key
    raise AssertionError("no pair found")


def test_keys_of_one_hash_are_two_keys(tmp_path):
    one, other = same_hash()
    first = run(tmp_path, None, put=[(one, OLD), (other, OLD)])

    second = run(tmp_path, first, put=[(one, NEW)])
    third = run(tmp_path, second, gone=[one])

    with opened(tmp_path, third) as store, store.begin() as draft:
        assert draft.compare("usmf", [(one, NEW), (other, OLD)]) == [0]
        assert draft.base_count("usmf") == 1


def test_one_key_in_two_companies_is_two_rows(tmp_path):
    with opened(tmp_path, None) as store, store.begin() as draft:
        draft.remember("usmf", [(b"key", OLD)])
        draft.remember("demf", [(b"key", NEW)])
        draft.remember("", [(b"key", OLD)])
        first = draft.commit({})

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert draft.companies() == ["", "demf", "usmf"]
        assert draft.compare("usmf", [(b"key", OLD)]) == []
        assert draft.compare("demf", [(b"key", OLD)]) == [0]
        assert list(draft.unseen("")) == [b"key"]
        draft.forget("usmf", [b"key"])
        second = draft.commit({})

    assert remembers(tmp_path, second, [(b"key", NEW)], "demf")
    assert remembers(tmp_path, second, [], "usmf")


def test_a_row_that_a_snapshot_reads_twice_is_remembered_once_at_its_last_version(tmp_path):
    with opened(tmp_path, None) as store, store.begin() as draft:
        draft.remember("usmf", [*rows_of(3), (b"twice", OLD)])
        draft.remember("usmf", [(b"twice", NEW), (b"once", OLD), (b"once", NEW)])
        first = draft.commit({})

    assert remembers(tmp_path, first, [*rows_of(3), (b"twice", NEW), (b"once", NEW)])


def test_what_is_remembered_after_a_row_was_forgotten_is_not_taken_for_gone(tmp_path):
    first = run(tmp_path, None, put=[(b"a", OLD), (b"b", OLD)])

    with opened(tmp_path, first) as store, store.begin() as draft:
        draft.compare("usmf", [(b"a", OLD)])
        draft.forget("usmf", [b"b"])
        draft.remember("usmf", [(b"c", OLD), (b"b", NEW)])
        assert list(draft.unseen("usmf")) == []
        second = draft.commit({})

    assert remembers(tmp_path, second, [(b"a", OLD), (b"b", NEW), (b"c", OLD)])
    assert remembers(tmp_path, first, [(b"a", OLD), (b"b", OLD)])


def test_keys_may_be_forgotten_and_listed_while_the_unseen_are_taken(tmp_path, monkeypatch):
    monkeypatch.setattr(change_store, "_BATCH", 10)
    rows = rows_of(95)
    first = run(tmp_path, None, put=rows)

    with opened(tmp_path, first) as store, store.begin() as draft:
        taken = []
        for key in draft.unseen("usmf"):
            taken.append(key)
            draft.forget("usmf", [key])
            draft.compare("usmf", rows[90:])
        second = draft.commit({})

    assert taken == [key for key, _ in rows[:90]]
    assert remembers(tmp_path, second, rows[90:])


def test_a_listing_that_is_begun_anew_as_a_snapshot_keeps_nothing_of_before(tmp_path):
    first = run(tmp_path, None, put=rows_of(4))

    with opened(tmp_path, first) as store, store.begin() as draft:
        draft.compare("usmf", rows_of(3))
        assert len(list(draft.unseen("usmf"))) == 1
        draft.remember("usmf", [(b"early", NEW), rows_of(4, NEW)[1]])
        draft.forget_all()
        draft.remember("usmf", rows_of(1, NEW))
        second = draft.commit({})

    assert remembers(tmp_path, second, rows_of(1, NEW))
    assert remembers(tmp_path, first, rows_of(4))


def test_the_room_of_a_dropped_journal_is_given_back(tmp_path, monkeypatch):
    monkeypatch.setattr(change_store, "_WORTH_SHRINKING", 8)
    first = run(tmp_path, None, put=rows_of(5_000))
    size = (tmp_path / FILE).stat().st_size
    second = run(tmp_path, first, put=rows_of(5_000, NEW))
    both = (tmp_path / FILE).stat().st_size

    third = run(tmp_path, second, put=[(b"one more", NEW)])

    assert both > 1.3 * size
    assert (tmp_path / FILE).stat().st_size < 1.1 * size
    assert remembers(tmp_path, third, [*rows_of(5_000, NEW), (b"one more", NEW)])


def test_a_row_takes_less_than_a_hundred_bytes_on_disk(tmp_path):
    rng = random.Random(5)
    with opened(tmp_path, None) as store, store.begin() as draft:
        for company in ("usmf", "demf", "gbsi", "frrt", "brmf"):
            for page in range(10):
                keys = ([company, f"PO-{page * 1_000 + n:08d}", n % 37 + 1, "Purch"] for n in range(1_000))
                texts = (json.dumps(key, separators=(",", ":")).encode() for key in keys)
                draft.remember(company, [(text, rng.randbytes(8)) for text in texts])
        first = draft.commit({"mode": "etag"})
    size = (tmp_path / FILE).stat().st_size

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert sum(map(draft.base_count, draft.companies())) == 50_000
    assert size / 50_000 < 100


# -- any history --------------------------------------------------------------------------------------------

_companies = st.sampled_from(["", "usmf", "demf"])
_keys = st.integers(0, 12).map(lambda number: b'["k",%d]' % number)
_listed = st.lists(st.tuples(_keys, st.sampled_from([OLD, NEW])), max_size=8)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("compare"), _companies, _listed),
        st.tuples(st.just("remember"), _companies, _listed),
        st.tuples(st.just("forget"), _companies, st.lists(_keys, max_size=4)),
        st.tuples(st.just("forget_unseen"), _companies, st.none()),
        st.tuples(st.just("forget_all"), st.none(), st.none()),
    ),
    max_size=8,
)


class Model:
    """What a draft should hold, as plainly as it can be said."""

    def __init__(self, base: dict | None) -> None:
        self.replaces = base is None
        self.before = set(base or {})
        self.rows = dict(base or {})
        self.unseen = set(base or {})
        """The rows of before that are still there and have not been listed."""

    def compare(self, draft, company, rows) -> None:
        told = told_in(draft, company)
        moved = [
            place
            for place, (key, version) in enumerate(rows)
            if self.replaces or self.rows.get((company, key)) != version or key in told
        ]
        assert draft.compare(company, rows) == moved
        self.unseen -= {(company, key) for key, _ in rows}

    def remember(self, draft, company, rows) -> None:
        draft.remember(company, iter(rows))
        self.rows |= {(company, key): version for key, version in rows}
        self.unseen -= {(company, key) for key, _ in rows}

    def forget(self, draft, company, keys) -> None:
        draft.forget(company, iter(keys))
        for key in keys:
            self.rows.pop((company, key), None)
            self.unseen.discard((company, key))

    def forget_unseen(self, draft, company, _) -> None:
        keys = sorted(draft.unseen(company))
        assert keys == sorted(key for at, key in self.unseen if at == company)
        self.forget(draft, company, keys)

    def forget_all(self, draft, *_) -> None:
        draft.forget_all()
        self.__init__(None)

    def counts_agree(self, draft) -> None:
        companies = [company for company, _ in self.before]
        assert draft.companies() == sorted(set(companies))
        for company in ("", "usmf", "demf"):
            assert draft.base_count(company) == companies.count(company)
            assert draft.seen_count(company) <= companies.count(company)


class Histories(RuleBasedStateMachine):
    """Runs in any order with any state: kept, old, lost or foreign; left half-way, with the store lost or put back."""

    make = staticmethod(lambda: Path(tempfile.mkdtemp(prefix="histories-")))

    def __init__(self) -> None:
        super().__init__()
        self.folder = self.make()
        self.issued: dict[int, dict] = {}
        self.held: list[int] = []
        self.backup: tuple[bytes, list[int]] | None = None

    def teardown(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def location(self) -> str:
        return str(self.folder)

    def read(self) -> bytes:
        return (self.folder / FILE).read_bytes()

    def write(self, content: bytes | None) -> None:
        if content is None:
            (self.folder / FILE).unlink()
        else:
            (self.folder / FILE).write_bytes(content)

    def given(self, data) -> int | None:
        return data.draw(st.sampled_from([None, 77, *self.issued, *self.held, *self.held[-1:] * 3]))

    @rule(data=st.data(), steps=_steps, note=st.integers(0, 1), commits=st.sampled_from([True, True, False]))
    def sweep(self, data, steps, note, commits) -> None:
        given = self.given(data)
        with opened(self.location, given) as store:
            assert (store.base is not None) == (given in self.held)
            base = None if store.base is None else self.issued[given]
            model = Model(None if base is None else base["rows"])
            with store.begin() as draft:
                for step, company, argument in steps:
                    model.counts_agree(draft)
                    getattr(model, step)(draft, company, argument)
                if not commits:
                    return
                meta = {"note": note}
                number = draft.commit(meta)
        if number == given:
            assert meta == base["meta"]
            return
        assert number not in self.issued
        kept = [given] if base is not None else self.held[:1]
        self.held = list(dict.fromkeys([*kept, number]))
        self.issued[number] = {"rows": dict(model.rows), "meta": meta}

    @rule()
    def lose_the_store(self) -> None:
        if self.held:
            self.write(None)
            self.held = []

    @rule()
    def back_up(self) -> None:
        if self.held:
            self.backup = (self.read(), list(self.held))

    @rule()
    def put_the_backup_back(self) -> None:
        if self.backup:
            content, self.held = self.backup
            self.write(content)

    @invariant()
    def every_held_generation_is_exact(self) -> None:
        for number in self.held:
            rows = self.issued[number]["rows"]
            with opened(self.location, number) as store, store.begin() as draft:
                assert store.base is not None
                assert store.base.meta == self.issued[number]["meta"]
                assert draft.companies() == sorted({company for company, _ in rows})
                for company in draft.companies():
                    of_company = {key: version for (at, key), version in rows.items() if at == company}
                    assert draft.base_count(company) == len(of_company)
                    assert rows_in(draft, company) == of_company


class RemoteHistories(Histories):
    """The same behind a URL."""

    location = "memory://histories/store"
    _path = f"/histories/store/{FILE}"

    def __init__(self) -> None:
        super().__init__()
        fsspec.filesystem("memory").store.clear()

    def read(self) -> bytes:
        return fsspec.filesystem("memory").cat_file(self._path)

    def write(self, content: bytes | None) -> None:
        if content is None:
            fsspec.filesystem("memory").rm_file(self._path)
        else:
            fsspec.filesystem("memory").pipe_file(self._path, content)


_histories = settings(
    max_examples=30,
    stateful_step_count=14,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@pytest.mark.parametrize("machine", [Histories, RemoteHistories], ids=["folder", "url"])
def test_every_generation_that_is_held_is_exact_after_any_history(machine):
    run_state_machine_as_test(machine, settings=_histories)


# -- killed -------------------------------------------------------------------------------------------------

_KILLED_RUN = f"""
import os, signal, sys
from tap_d365fo.extraction import change_store
change_store._CACHE_KIB = 40  # so small that pages reach the file long before the commit
location, given, after = sys.argv[1], int(sys.argv[2]) or None, int(sys.argv[3])
NEW = b"version2"
with change_store.ChangeStore.open(
    location, environment={ENVIRONMENT!r}, stream={STREAM!r}, generation=given
) as store:
    left = [after]
    def die():
        left[0] -= 1
        if left[0] <= 0:
            os.kill(os.getpid(), signal.SIGKILL)
    store._connection.set_progress_handler(die, 1000)
    with store.begin() as draft:
        keys = [b'["usmf","US-%06d"]' % number for number in range(4_000)]
        draft.compare("usmf", [(key, NEW) for key in keys])
        draft.remember("usmf", [(key, NEW) for key in keys[1_000:]])
        draft.forget("usmf", keys[:500])
        print(draft.commit({{}}), flush=True)
"""


def killed_run(location, given, after: int) -> int | None:
    """A run in a process of its own, killed after some thousands of SQLite's steps; its number if it got there."""
    done = subprocess.run(
        [sys.executable, "-c", _KILLED_RUN, str(location), str(given or 0), str(after)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (0, -signal.SIGKILL), done.stderr
    return int(done.stdout) if done.stdout else None


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("after", [1, 30, 60, 100, 140, 180, 10_000])
def test_killed_at_any_instant_the_generation_before_is_exact(tmp_path, after):
    first = run(tmp_path, None, put=rows_of(2_000))

    second = killed_run(tmp_path, first, after)

    assert (second is not None) == (after == 10_000)
    assert remembers(tmp_path, first, rows_of(2_000))


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("after", [1, 20, 60, 100, 10_000])
def test_killed_in_a_snapshot_the_generation_before_is_exact(tmp_path, after):
    first = run(tmp_path, None, put=rows_of(2_000))

    killed_run(tmp_path, None, after)

    assert remembers(tmp_path, first, rows_of(2_000))


@pytest.mark.skipif(os.name != "posix", reason="kills by signal")
@pytest.mark.parametrize("after", [1, 20, 60, 100, 10_000])
def test_killed_while_an_unsaved_generation_is_undone_both_are_exact(tmp_path, after):
    first = run(tmp_path, None, put=rows_of(2_000))
    second = run(tmp_path, first, put=rows_of(3_000, NEW), gone=[rows_of(1)[0][0]])

    third = killed_run(tmp_path, first, after)

    assert third is not None or remembers(tmp_path, second, rows_of(3_000, NEW)[1:])
    assert remembers(tmp_path, first, rows_of(2_000))


# -- two runs at once ---------------------------------------------------------------------------------------

_HOLDING_RUN = f"""
import sys
from tap_d365fo.extraction.change_store import ChangeStore
with ChangeStore.open(sys.argv[1], environment={ENVIRONMENT!r}, stream={STREAM!r}, generation=None) as store:
    for said in ("opened", "left", "committed"):
        if said == "left":
            with store.begin() as draft:
                draft.remember("usmf", [(b"key", b"version1")])
        if said == "committed":
            with store.begin() as draft:
                draft.commit({{}})
        print(said, flush=True)
        sys.stdin.readline()
"""


def test_a_second_process_is_refused_until_the_first_has_died(tmp_path):
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDING_RUN, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as first:
        for said in ("opened", "left", "committed"):
            assert first.stdout.readline().strip() == said
            with pytest.raises(ChangeStoreError, match="in use by another run"), opened(tmp_path, None):
                pass
            if said != "committed":
                first.stdin.write("\n")
                first.stdin.flush()
        first.kill()

    assert run(tmp_path, None, put=rows_of(1))


def test_two_streams_of_one_folder_do_not_hinder_each_other(tmp_path):
    with opened(tmp_path, None, stream="VendorsV2"):
        run(tmp_path, None, put=rows_of(1))

    assert sorted(path.name for path in tmp_path.iterdir()) == [FILE, "VendorsV2.sqlite"]


# -- what is refused ----------------------------------------------------------------------------------------


def test_the_store_of_another_environment_is_refused_by_both_names(tmp_path):
    first = run(tmp_path, None, put=rows_of(2))

    with (
        pytest.raises(ChangeStoreError) as refused,
        opened(tmp_path, first, environment="https://fabrikam.operations.dynamics.com"),
    ):
        pass

    assert ENVIRONMENT in str(refused.value)
    assert "https://fabrikam.operations.dynamics.com" in str(refused.value)
    assert refused.value.fault == "config"
    assert refused.value.remedy
    assert remembers(tmp_path, first, rows_of(2))


def test_the_store_of_another_stream_is_refused(tmp_path):
    run(tmp_path, None, put=rows_of(2))
    (tmp_path / FILE).rename(tmp_path / "VendorsV2.sqlite")

    with (
        pytest.raises(ChangeStoreError, match=r"belongs to stream CustomersV3, not to VendorsV2"),
        opened(tmp_path, None, stream="VendorsV2"),
    ):
        pass


def _set_schema(path: Path, schema: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE identity SET value = ? WHERE name = 'schema'", (schema,))
    connection.commit()
    connection.close()


def test_a_store_of_a_newer_connector_is_refused_and_left_as_it_is(tmp_path):
    run(tmp_path, None, put=rows_of(2))
    _set_schema(tmp_path / FILE, str(SCHEMA_VERSION + 1))
    before = (tmp_path / FILE).read_bytes()

    with pytest.raises(ChangeStoreError, match="newer version of this connector"), opened(tmp_path, None):
        pass

    assert (tmp_path / FILE).read_bytes() == before


def test_a_store_of_an_older_connector_is_made_anew(tmp_path):
    first = run(tmp_path, None, put=rows_of(2))
    _set_schema(tmp_path / FILE, "1")

    assert not is_held(tmp_path, first)
    assert remembers(tmp_path, run(tmp_path, first, put=rows_of(3)), rows_of(3))


def _text(path: Path) -> None:
    path.write_text("no database, but long enough to have been one " * 100)


def _other_program(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE rows (mine)")
    connection.commit()
    connection.close()


def _other_identity(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE identity (name, value)")
    connection.commit()
    connection.close()


def _cut_short(path: Path) -> None:
    run(path.parent, None, put=rows_of(5_000))
    path.write_bytes(path.read_bytes()[:9_000])


@pytest.mark.parametrize("spoil", [_text, _other_program, _other_identity, _cut_short, Path.mkdir])
def test_a_file_that_is_no_store_is_refused_and_left_as_it_is(tmp_path, spoil):
    path = tmp_path / FILE
    spoil(path)
    before = path.read_bytes() if path.is_file() else None

    with pytest.raises(ChangeStoreError) as refused:
        run(tmp_path, None, put=rows_of(1))

    assert str(path) in str(refused.value)
    assert refused.value.remedy
    assert before == (path.read_bytes() if path.is_file() else None)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")

    with pytest.raises(ChangeStoreError, match="folder"), opened(tmp_path / "file" / "store", None):
        pass


def test_a_full_disk_is_said_and_loses_nothing(tmp_path):
    first = run(tmp_path, None, put=rows_of(1_000))

    def fill() -> None:
        with opened(tmp_path, first) as store, store.begin() as draft:
            store._connection.execute(
                "PRAGMA max_page_count = 1"
            )  # SQLite takes the file's size for the least
            draft.remember("usmf", rows_of(50_000, NEW))

    with pytest.raises(ChangeStoreError, match="has no room"):
        fill()

    assert remembers(tmp_path, first, rows_of(1_000))


# -- behind a URL -------------------------------------------------------------------------------------------

URL = "memory://bucket/sweeps"
_REMOTE = f"/bucket/sweeps/{FILE}"


def test_a_store_behind_a_url_comes_back_as_it_was_put(memory):
    first = run(URL, None, put=rows_of(3))
    second = run(f"{URL}/", first, put=rows_of(4))

    assert remembers(URL, first, rows_of(3))
    assert remembers(URL, second, rows_of(4))
    assert list(memory.store) == [_REMOTE]


def test_a_url_of_files_is_the_folder(tmp_path):
    first = run((tmp_path / "a folder").as_uri(), None, put=rows_of(3))

    assert remembers(tmp_path / "a folder", first, rows_of(3))


@pytest.mark.parametrize("is_first", [False, True], ids=["another one fetched", "none there"])
def test_a_newer_store_is_not_overwritten(memory, is_first):
    given = None if is_first else run(URL, None, put=rows_of(3))
    meanwhile = []

    def overtaken_run() -> None:
        with opened(URL, given) as store, store.begin() as draft:
            memory.rm_file(f"{_REMOTE}.lock")  # as if it had ended, or a fast clock had overlooked it
            meanwhile.append(run(URL, given, put=rows_of(4)))
            draft.remember("usmf", rows_of(5))
            draft.commit({})

    with pytest.raises(ChangeStoreError, match="changed by another run"):
        overtaken_run()

    assert remembers(URL, meanwhile[0], rows_of(4))


def test_a_store_that_was_lost_and_made_anew_meanwhile_is_not_overwritten(memory):
    given = run(URL, None, put=rows_of(3))
    meanwhile = []

    def overtaken_run() -> None:
        with opened(URL, given) as store, store.begin() as draft:
            memory.rm_file(f"{_REMOTE}.lock")
            memory.rm_file(_REMOTE)
            meanwhile.append(run(URL, None, put=rows_of(3)))
            draft.remember("usmf", rows_of(5))
            draft.commit({})

    with pytest.raises(ChangeStoreError, match="changed by another run"):
        overtaken_run()

    assert remembers(URL, meanwhile[0], rows_of(3))


def test_a_store_that_was_removed_meanwhile_is_put(memory):
    first = run(URL, None, put=rows_of(3))

    with opened(URL, first) as store, store.begin() as draft:
        memory.rm_file(_REMOTE)
        draft.remember("usmf", rows_of(4))
        second = draft.commit({})

    assert remembers(URL, second, rows_of(4))


def test_a_sweep_in_which_nothing_moved_puts_nothing(memory, monkeypatch):
    first = run(URL, None, put=rows_of(3))
    monkeypatch.setattr(memory, "put_file", lambda *_: pytest.fail("nothing was to be put"))

    assert run(URL, first) == first


def test_a_store_that_cannot_be_put_is_an_error_and_the_one_before_stays(memory, monkeypatch):
    first = run(URL, None, put=rows_of(3))

    def refuses(*_, **__):
        raise PermissionError("403 AuthorizationFailure")

    with monkeypatch.context() as patched:
        patched.setattr(memory, "put_file", refuses)
        with pytest.raises(ChangeStoreError, match="403 AuthorizationFailure"):
            run(URL, first, put=rows_of(4))

    assert remembers(URL, first, rows_of(3))


def test_a_url_that_no_driver_knows_is_refused():
    with pytest.raises(ChangeStoreError, match="nosuch") as refused, opened("nosuch://bucket", None):
        pass

    assert refused.value.remedy


def test_a_lock_names_its_owner_and_ends_with_its_run(memory):
    clock = Clock()

    with opened(URL, None, clock=clock):
        with (
            pytest.raises(ChangeStoreError, match="in use by another run") as refused,
            opened(URL, None, clock=clock),
        ):
            pass
        assert f":{os.getpid()}" in refused.value.message
        assert "2026-03-01T00:05:00+00:00" in (refused.value.remedy or "")

    assert list(memory.store) == []
    run(URL, None, put=rows_of(1), clock=clock)


def test_the_lock_of_a_run_that_was_killed_is_believed_until_its_end(memory):
    clock = Clock()
    with opened(URL, None, clock=clock):
        left = memory.cat_file(f"{_REMOTE}.lock")
    memory.pipe_file(f"{_REMOTE}.lock", left)

    clock.seconds = LOCK_SECONDS - 1
    with pytest.raises(ChangeStoreError, match="in use"), opened(URL, None, clock=clock):
        pass
    clock.seconds = LOCK_SECONDS

    assert remembers(URL, run(URL, None, put=rows_of(2), clock=clock), rows_of(2))


@pytest.mark.parametrize("verb", ["compare", "remember", "forget"])
def test_a_run_that_works_renews_its_lock(memory, verb):
    clock = Clock()
    first = run(URL, None, put=rows_of(1), clock=clock)

    with opened(URL, first, clock=clock) as store, store.begin() as draft:
        clock.seconds = LOCK_SECONDS - 1
        getattr(draft, verb)("usmf", [b"key"] if verb == "forget" else rows_of(1))
        clock.seconds = LOCK_SECONDS + 1
        with pytest.raises(ChangeStoreError, match="in use"), opened(URL, first, clock=clock):
            pass


def test_a_run_that_lost_its_lock_leaves_the_other_ones_alone(memory):
    clock = Clock()
    with opened(URL, None, clock=clock):
        clock.seconds = LOCK_SECONDS + 1
        with opened(URL, None, clock=clock):
            other = memory.cat_file(f"{_REMOTE}.lock")
            memory.pipe_file("/kept", other)
        memory.pipe_file(f"{_REMOTE}.lock", memory.cat_file("/kept"))

    assert memory.cat_file(f"{_REMOTE}.lock") == other


@settings(deadline=None, max_examples=50)
@given(
    st.one_of(
        st.binary(),
        st.sampled_from(
            [b"[]", b"{}", b'{"until": 5}', b'{"until": "2999-01-01T00:00:00", "owner": "x"}', b'"\xff"']
        ),
    )
)
def test_what_is_no_lock_of_ours_locks_nothing(content):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    memory.pipe_file(f"{_REMOTE}.lock", content)

    with opened(URL, None) as store:
        assert store.base is None


# -- what a target ends up with -----------------------------------------------------------------------------


class Deliveries(RuleBasedStateMachine):
    """Sweeps as an extractor does them, into a target that may fail, or may never save a run's state.

    After every run that the target took whole, it holds what the environment holds.
    """

    location = "memory://deliveries"
    versions_return = False
    """Whether a version may be again what it was: hashes of rows do, etags where a joined row comes and goes."""

    def __init__(self) -> None:
        super().__init__()
        fsspec.filesystem("memory").store.clear()
        self.truth: dict[tuple[str, bytes], bytes] = {}
        self.target: dict[tuple[str, bytes], bytes] = {}
        self.saved: list[int | None] = [None]
        self.versions = itertools.count(1)

    @rule(
        at=st.tuples(_companies, _keys),
        change=st.sampled_from(["put", "put", "delete"]),
        turn=st.integers(0, 1),
    )
    def change(self, at, change, turn) -> None:
        if change == "delete":
            self.truth.pop(at, None)
        else:
            self.truth[at] = b"%08d" % (turn if self.versions_return else next(self.versions))

    @rule(
        given=st.sampled_from([-1, -1, -1, 0, -2]),
        takes=st.sampled_from([None, None, None, 0, 1, 3]),
        ends=st.sampled_from(["state saved", "state saved", "state lost", "killed"]),
    )
    def sweep(self, given, takes, ends) -> None:
        number = self.saved[max(given, -len(self.saved))]
        with opened(self.location, number) as store, store.begin() as draft:
            told = 0
            for message in self.messages(draft, snapshot=store.base is None):
                if takes is not None and told >= takes and ends == "killed":
                    return
                if takes is None or told < takes:
                    self.apply(message)
                told += 1
            if ends == "killed":
                return
            committed = draft.commit({})
        if takes is None or told <= takes:
            assert self.target == self.truth
            if ends == "state saved":
                self.saved.append(committed)

    @rule()
    def lose_the_store(self) -> None:
        fsspec.filesystem("memory").store.clear()

    def messages(self, draft, *, snapshot):
        """Tell of changes: each only after it was remembered."""
        if snapshot:
            draft.forget_all()
        for company in ("", "usmf", "demf"):
            listed = sorted((key, version) for (at, key), version in self.truth.items() if at == company)
            moved = [listed[place] for place in draft.compare(company, listed)]
            for key, version in moved:
                draft.remember(company, [(key, version)])
                yield "put", (company, key), version
        if snapshot:
            yield "activate", None, set(self.truth)
            return
        for company in sorted({*draft.companies(), *draft.told_companies()}):
            for key in [*draft.unseen(company), *draft.told(company)]:
                draft.forget(company, [key])
                yield "delete", (company, key), None

    def apply(self, message) -> None:
        what, at, value = message
        if what == "put":
            self.target[at] = value
        elif what == "delete":
            self.target.pop(at, None)
        else:
            self.target = {at: version for at, version in self.target.items() if at in value}


class DeliveriesThatReturn(Deliveries):
    """The same where versions may return."""

    versions_return = True


@pytest.mark.parametrize("machine", [Deliveries, DeliveriesThatReturn], ids=["new", "returning"])
def test_a_target_that_took_a_run_whole_holds_what_the_environment_holds(machine):
    run_state_machine_as_test(machine, settings=settings(_histories, stateful_step_count=25))


@pytest.mark.parametrize("location", ["folder", URL])
def test_what_a_killed_run_told_survives_a_run_that_was_started_without_its_state(location, tmp_path, memory):
    location = tmp_path if location == "folder" else location
    first = run(location, None, put=[(b"kept", OLD)])
    with opened(location, first) as store, store.begin() as draft:
        draft.remember("usmf", [(b"told", OLD)])
    snapshot = run(location, None, put=[(b"kept", OLD)])

    with opened(location, first) as store, store.begin() as draft:
        assert list(draft.told("usmf")) == [b"told"]
    with opened(location, snapshot) as store, store.begin() as draft:
        assert list(draft.told("usmf")) == []


def test_what_was_new_in_a_generation_is_told_to_be_gone_after_a_snapshot_dropped_it(tmp_path):
    first = run(tmp_path, None, put=[(b"kept", OLD)])
    run(tmp_path, first, put=[(b"new", OLD)])
    run(tmp_path, None, put=[(b"kept", OLD)])

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert list(draft.told("usmf")) == [b"new"]


def test_what_was_told_before_a_listing_was_begun_anew_is_told_to_be_gone(tmp_path):
    first = run(tmp_path, None, put=[(b"kept", OLD)])
    with opened(tmp_path, first) as store, store.begin() as draft:
        draft.remember("usmf", [(b"early", OLD)])
        draft.forget_all()
        draft.remember("usmf", [(b"kept", OLD)])
        draft.commit({"snapshot": True})

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert list(draft.told("usmf")) == [b"early"]


@pytest.mark.parametrize("is_killed", [True, False], ids=["killed", "state never saved"])
@pytest.mark.parametrize("verb", ["remember", "forget"])
def test_a_row_that_returns_to_its_hash_is_told_again_where_another_was_told(tmp_path, verb, is_killed):
    first = run(tmp_path, None, put=[(b"moved", OLD), (b"kept", OLD)])
    with opened(tmp_path, first) as store, store.begin() as draft:
        getattr(draft, verb)("usmf", [(b"moved", NEW)] if verb == "remember" else [b"moved"])
        if not is_killed:
            draft.commit({})

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert draft.compare("usmf", [(b"kept", OLD), (b"moved", OLD)]) == [1]


def test_an_announcement_that_was_cut_off_spoils_no_other(tmp_path):
    first = run(tmp_path, None, put=[(b"kept", OLD)])
    announced = tmp_path / f"{STREAM}.announced"
    for key in (b"one", b"cut off", b"other"):
        with opened(tmp_path, first) as store, store.begin() as draft:
            draft.remember("usmf", [(key, OLD)])
        if key == b"cut off":
            announced.write_bytes(announced.read_bytes()[:-4])

    with opened(tmp_path, first) as store, store.begin() as draft:
        assert sorted(draft.told("usmf")) == [b"one", b"other"]
        draft.forget("usmf", [b"one", b"other"])
        draft.commit({})

    assert not announced.exists()


def test_announcing_behind_a_url_sends_each_key_once(memory, monkeypatch):
    first = run(URL, None, put=rows_of(1))
    sent: list[bytes] = []
    pipe_file = memory.pipe_file

    def counted(path, value, *others, **options):
        sent.append(value)
        return pipe_file(path, value, *others, **options)

    monkeypatch.setattr(memory, "pipe_file", counted)
    with opened(URL, first) as store, store.begin() as draft:
        for number in range(50):
            draft.remember("usmf", [(b'["usmf","NEW-%d"]' % number, OLD)])
        second = draft.commit({})

    assert sum(map(len, sent)) < 5_000
    assert list(memory.store) == [_REMOTE]
    assert remembers(URL, second, [*rows_of(1), *((b'["usmf","NEW-%d"]' % n, OLD) for n in range(50))])


def test_what_runs_told_is_taken_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(change_store, "_BATCH", 7)
    monkeypatch.setattr(change_store, "_LOOKUP", 3)
    first = run(tmp_path, None, put=[(b"kept", OLD)])
    run(tmp_path, first, put=rows_of(40))

    with opened(tmp_path, first) as store, store.begin() as draft:
        draft.remember("usmf", rows_of(10))
        taken = []
        for key in draft.told("usmf"):
            taken.append(key)
            draft.forget("usmf", [key])

    assert taken == [key for key, _ in rows_of(40)[10:]]
