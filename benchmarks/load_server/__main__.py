"""`python -m benchmarks.load_server`: serves until its standard input closes.

Prints one line of JSON when it is ready: `url` (TLS), `plain_url` and `ca_file`.
"""

from __future__ import annotations

import argparse
import json
import sys

from benchmarks.load_server.connections import Listener
from benchmarks.load_server.service import LoadService
from tap_d365fo.sandbox.certificate import loopback_certificate

_MIB = 1024 * 1024


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load_server", description=__doc__)
    parser.add_argument("--rows", action="append", default=[], metavar="ENTITY=N", help="Rows of an entity.")
    parser.add_argument("--companies", type=int, default=1, help="Legal entities that rows are spread over.")
    parser.add_argument("--cache-mib", type=int, default=3000, help="Room for rendered pages.")
    parser.add_argument(
        "--full-metadata", action="store_true", help="$metadata at a real environment's size."
    )
    return parser.parse_args()


def main() -> None:
    options = _arguments()
    rows = {name: int(count) for name, _, count in (each.partition("=") for each in options.rows)}
    service = LoadService(
        rows=rows,
        companies=options.companies,
        cache_bytes=options.cache_mib * _MIB,
        full_metadata=options.full_metadata,
    )
    certificate = loopback_certificate()
    secure, plain = Listener(service, certificate.server_context()), Listener(service)
    for each in (secure, plain):
        each.start()
    print(json.dumps({"url": secure.url, "plain_url": plain.url, "ca_file": certificate.ca_file}), flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
