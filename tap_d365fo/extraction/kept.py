"""What an environment said about itself, kept on disk for people who look at it again and again.

A sync never reads from here. Documents are kept by application version, and for a day at most: an update of
an environment's own customisations does not change that version.
"""

from __future__ import annotations

import gzip
import hashlib
import logging
import os
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

logger = logging.getLogger("tap_d365fo")

KEPT_SECONDS = 24 * 3600.0


class KeptDocuments:
    """Documents of one environment at one version."""

    def __init__(
        self, folder: Path, *, environment_url: str, version: str, now: Callable[[], float] = time.time
    ) -> None:
        host = urlsplit(environment_url).hostname or "environment"
        mark = hashlib.sha256(f"{environment_url} {version}".encode()).hexdigest()[:16]
        self._folder = folder / f"{host}-{mark}"
        self._now = now

    def get(self, name: str, fetch: Callable[[], bytes]) -> bytes:
        """Return a document from the folder, else fetched and then kept. A folder that fails is done without."""
        path = self._folder / f"{name}.gz"
        try:
            if self._now() - path.stat().st_mtime < KEPT_SECONDS:
                return gzip.decompress(path.read_bytes())
        except FileNotFoundError:
            pass
        except (OSError, EOFError, zlib.error) as exc:
            logger.info("%s cannot be read: %s", path, exc)
        document = fetch()
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            draft = path.with_name(f"{path.name}.{os.getpid()}")
            draft.write_bytes(gzip.compress(document, compresslevel=1))
            draft.replace(path)
        except OSError as exc:
            logger.info("%s cannot be kept: %s", path, exc)
        return document
