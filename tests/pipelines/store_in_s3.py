"""A change store in a bucket, step by step; prints what happened as JSON. Run beside a server that speaks S3."""

from __future__ import annotations

import json
import sys

import fsspec

from tap_d365fo.errors import ChangeStoreError
from tap_d365fo.extraction.change_store import ChangeStore
from tap_d365fo.extraction.store_location import try_out

FOLDER, FILE = "s3://bucket/stores", "bucket/stores/CustomersV3.sqlite"
ROWS = [(b"k%05d" % number, b"version1") for number in range(20_000)]


def opened(generation):
    return ChangeStore.open(
        FOLDER, environment="https://contoso", stream="CustomersV3", generation=generation
    )


def refusal(run) -> str:
    try:
        run()
    except ChangeStoreError as exc:
        return str(exc)
    return ""


def main() -> None:
    bucket = fsspec.filesystem("s3")
    bucket.mkdir("bucket")
    try_out(FOLDER)
    told = {}

    with opened(None) as store, store.begin() as draft:
        draft.remember("usmf", ROWS)
        first = draft.commit({})

    with opened(first) as store, store.begin() as draft:
        told["moved"] = draft.compare("usmf", ROWS[1:])
        told["unseen"] = [key.decode() for key in draft.unseen("usmf")]
        told["second run"] = refusal(lambda: opened(first).__enter__())
        draft.forget("usmf", [ROWS[0][0]])
        second = draft.commit({})
    told["left"] = bucket.ls("bucket/stores", detail=False, refresh=True)

    with opened(second) as store, store.begin() as draft:
        draft.remember("usmf", [(b"new", b"version1")])
        newer = bytearray(bucket.cat_file(FILE))
        newer[60:64] = b"else"  # the mark of another generation
        bucket.pipe_file(FILE, bytes(newer))
        told["overwriting"] = refusal(lambda: draft.commit({}))
    told["kept"] = bucket.cat_file(FILE) == bytes(newer)

    with opened(second) as store, store.begin() as draft:
        told["told before it ended"] = [key.decode() for key in draft.told("usmf")]
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
