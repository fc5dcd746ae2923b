"""Keys that were told by runs whose state the target never saved: told again, or told to be gone."""

from __future__ import annotations

import fsspec
import pytest

from tap_d365fo.extraction.change_store import ChangeStore

OLD, NEW = b"version1", b"version2"


def opened(location, generation):
    return ChangeStore.open(str(location), environment="https://contoso", stream="S", generation=generation)


def run(location, generation, *, put=(), gone=()) -> int:
    with opened(location, generation) as store, store.begin() as draft:
        draft.remember("usmf", put)
        draft.forget("usmf", gone)
        return draft.commit({})


def killed(location, generation, *, put=(), **how) -> None:
    with opened(location, generation) as store, store.begin(**how) as draft:
        draft.remember("usmf", put)


def told(location, generation, *listed, **how) -> list[bytes]:
    with opened(location, generation) as store, store.begin(**how) as draft:
        draft.remember("usmf", listed)
        return sorted(key for company in draft.told_companies() for key in draft.told(company))


@pytest.fixture(params=["folder", "url"])
def location(request, tmp_path):
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield tmp_path / "store" if request.param == "folder" else "memory://store"
    memory.store.clear()


def test_a_new_key_told_before_a_kill_is_told_to_be_gone_when_it_is_gone(location):
    first = run(location, None, put=[(b"a", OLD)])
    killed(location, first, put=[(b"a", NEW), (b"b", OLD)])

    assert told(location, first) == [b"b"]
    assert told(location, first, (b"b", OLD)) == []


def test_a_new_key_of_a_generation_that_the_target_never_saved_is_told_to_be_gone(location):
    first = run(location, None, put=[(b"a", OLD)])
    second = run(location, first, put=[(b"b", OLD)])

    assert told(location, first) == [b"b"]
    assert told(location, second) == []


def test_what_a_generation_settles_is_open_again_for_the_one_before(location):
    first = run(location, None, put=[(b"a", OLD)])
    killed(location, first, put=[(b"b", OLD)])
    second = run(location, first, gone=[b"b"])

    assert told(location, first) == [b"b"]
    assert told(location, second) == []


def test_a_snapshot_settles_all(location):
    first = run(location, None, put=[(b"a", OLD)])
    killed(location, first, put=[(b"b", OLD)])
    with opened(location, first) as store, store.begin() as draft:
        draft.forget_all()
        draft.remember("usmf", [(b"a", OLD)])
        second = draft.commit({})

    assert told(location, second) == []


def test_a_hash_that_returns_to_what_it_was_is_told_again(location):
    first = run(location, None, put=[(b"a", OLD), (b"c", OLD)])
    killed(location, first, put=[(b"a", NEW)])

    with opened(location, first) as store, store.begin() as draft:
        moved = draft.compare("usmf", [(b"a", OLD), (b"c", OLD)])

    assert moved == [0]
