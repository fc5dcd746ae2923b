"""Where a change store lies: a local folder, or a place behind fsspec that is fetched and put back."""

from __future__ import annotations

import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tap_d365fo.errors import ChangeStoreError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_VERSION_KEYS = ("ETag", "etag", "generation", "mtime", "LastModified", "last_modified", "created", "size")


@dataclass(slots=True)
class StoreFile:
    """The local file of a store, and how it gets back to where it came from."""

    path: Path
    remote: Any = None
    """An fsspec file system, None for a local folder."""
    remote_path: str = ""
    fetched: dict[str, str] | None = None

    def saved(self, connection: sqlite3.Connection) -> None:
        """Put a committed store back; raises ChangeStoreError where another run has put one since."""
        if self.remote is None:
            return
        if _version(self.remote, self.remote_path) != self.fetched:
            raise ChangeStoreError(
                f"The change store {self.remote_path} was changed by another run meanwhile; it was not overwritten.",
                remedy="Let one run at a time use a store; the next run starts from the state it is given.",
            )
        connection.rollback()  # nothing is pending after a commit; this frees the file for reading
        self.remote.put_file(str(self.path), self.remote_path)
        connection.execute("BEGIN EXCLUSIVE")
        self.fetched = _version(self.remote, self.remote_path)


@contextmanager
def locate(location: str, stream: str) -> Iterator[StoreFile]:
    """Yield the file of a stream's store below a folder or URL, made if need be."""
    name = f"{stream}.sqlite"
    if not _URL.match(location):
        folder = Path(location)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise ChangeStoreError(
                f"The folder of the change store cannot be made: {exc}.",
                remedy="Check the setting change_store.",
            ) from exc
        yield StoreFile(folder / name)
        return
    with tempfile.TemporaryDirectory(prefix="tap-d365fo-") as folder_name:
        yield _fetched(location, name, Path(folder_name))


def _fetched(location: str, name: str, folder: Path) -> StoreFile:
    import fsspec  # noqa: PLC0415  only remote stores need it

    try:
        remote, root = fsspec.core.url_to_fs(location)
        path = f"{root.rstrip('/')}/{name}"
        remote.makedirs(root, exist_ok=True)
        version = _version(remote, path)
        if version is not None:
            remote.get_file(path, str(folder / name))
    except (OSError, ImportError, ValueError) as exc:
        raise ChangeStoreError(
            f"The change store at {location} cannot be reached: {exc}.",
            remedy="Check the URL and its credentials, and that its package (s3fs, adlfs, gcsfs) is installed.",
        ) from exc
    return StoreFile(folder / name, remote, path, version)


def _version(remote: Any, path: str) -> dict[str, str] | None:
    """Return what tells one stored file from another, None where there is none."""
    remote.invalidate_cache()
    if not remote.exists(path):
        return None
    found = remote.info(path)
    return {key: str(found[key]) for key in _VERSION_KEYS if key in found}
