"""The floor: what reading pages and wrapping their records costs when nothing else is done.

`python -m benchmarks.floor rows URL [PAGE]` follows next links in one thread over one kept-alive connection:
1 MiB reads, rows without control information, the page split into raw records and joined into lines, one write
a page. It knows nothing of state, selection, failures or time-outs. `metadata URL` passes the document through a
bare expat parser.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from datetime import datetime, timezone
from urllib.parse import urlsplit
from xml.parsers import expat

import msgspec
import urllib3

_READ = 1024 * 1024


class _Page(msgspec.Struct):
    value: list[msgspec.Raw]
    next_link: str | None = msgspec.field(name="@odata.nextLink", default=None)


def main() -> None:
    what, *arguments = sys.argv[1:]
    {"rows": _rows, "metadata": _metadata}[what](*arguments)


def _rows(url: str | None, page_size: str = "10000") -> None:
    pool, decode = _pool(), msgspec.json.Decoder(_Page).decode
    prefix = b'{"type":"RECORD","stream":"%s","record":' % urlsplit(str(url)).path.rpartition("/")[2].encode()
    while url:
        page = decode(b"".join(_parts(pool, url, page_size)))
        extracted = datetime.now(timezone.utc).isoformat().encode()
        suffix = b',"time_extracted":"%s"}\n' % extracted
        _write(b"".join((prefix, (suffix + prefix).join(page.value), suffix)) if page.value else b"")
        url = page.next_link


def _metadata(url: str) -> None:
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = lambda _name, _attributes: None
    parser.EndElementHandler = lambda _name: None
    for part in _parts(_pool(), url):
        parser.Parse(part, False)
    parser.Parse(b"", True)


def _pool() -> urllib3.PoolManager:
    return urllib3.PoolManager(ca_certs=os.environ.get("REQUESTS_CA_BUNDLE"))


def _parts(pool: urllib3.PoolManager, url: str, page_size: str = "10000") -> Iterator[bytes]:
    headers = {
        "Accept": "application/json; odata.metadata=none",
        "Accept-Encoding": "gzip",
        "Prefer": f"odata.maxpagesize={page_size}",
    }
    answer = pool.request("GET", url, headers=headers, preload_content=False)
    yield from answer.stream(_READ)
    answer.release_conn()


def _write(lines: bytes) -> None:
    view = memoryview(lines)
    while view:
        view = view[os.write(sys.stdout.fileno(), view) :]


if __name__ == "__main__":
    main()
