"""What sweeps remember: exact for every generation that a state can name, whatever happens in between."""

from __future__ import annotations

import zlib

from tap_d365fo.extraction.change_store import ChangeStore

ENVIRONMENT = "https://contoso.operations.dynamics.com"
STREAM = "CustomersV3"
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
