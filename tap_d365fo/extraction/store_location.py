"""Where a change store lies: a local folder, or a place behind fsspec that is fetched and put back.

A local store is one run's alone by SQLite's own lock, which dies with the process. Object storage has no such
lock, so two things stand in for it:

- a lock object with owner and end, renewed while a run works. It is a courtesy that spares the second run its
  work: clocks differ, two runs may write it in the same moment, and after a kill it stands until its end.
- the guard, which decides: what is put back replaces only the very file that was fetched.

A file is put in one call, which object storage (s3, abfs, gs) takes whole or not at all.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote, urlsplit
from urllib.request import url2pathname

from tap_d365fo.errors import ChangeStoreError, D365FOError
from tap_d365fo.transport.clock import Clock

LOCK_SECONDS = 300
"""How long a lock object stands without being renewed: what a run waits at most after one was killed."""

_RENEW_SECONDS = 60
_HEADER_BYTES = 100
"""SQLite's file header. It carries our mark of the generation (`user_version`), so no two versions share it."""


class StoreFile(Protocol):
    """The local file of a store while a run holds it."""

    path: Path
    is_shared: bool
    """Whether other processes may open this very file, so that it needs SQLite's lock."""

    def renew(self) -> None:
        """Say that the run still works on the store."""
        ...

    def save(self) -> None:
        """Bring the committed file to where the next run finds it, and drop what was announced."""
        ...

    def announce(self, lines: bytes) -> None:
        """Keep lines where the next run finds them, whatever becomes of this one."""
        ...

    def announced(self) -> Iterator[bytes]:
        """Yield the lines that were announced and not settled by `save`; some may be empty or cut off."""
        ...


@dataclass(slots=True)
class LocalFile:
    """A file that is where it belongs."""

    path: Path
    is_shared: bool = True

    @property
    def _announcements(self) -> Path:
        return self.path.with_suffix(".announced")

    def announce(self, lines: bytes) -> None:
        """Append to a file of its own: the store's waits for its commit."""
        with _writing(self._announcements), self._announcements.open("ab") as file:
            file.write(b"\n" + lines)  # what stands there may have been cut off within a line
            file.flush()
            os.fsync(file.fileno())

    def announced(self) -> Iterator[bytes]:
        """Yield that file's lines."""
        with (
            _writing(self._announcements),
            contextlib.suppress(FileNotFoundError),
            self._announcements.open("rb") as file,
        ):
            yield from file

    def renew(self) -> None:
        """Do nothing: SQLite's lock needs no renewal."""

    def save(self) -> None:
        """Drop what was announced: what is committed is saved."""
        with _writing(self._announcements):
            self._announcements.unlink(missing_ok=True)


@contextmanager
def locate(location: str, stream: str, *, clock: Clock, rng: random.Random) -> Iterator[StoreFile]:
    """Yield the file of a stream's store below a folder or URL, made if need be.

    Raises ChangeStoreError where the place cannot be used, or another run holds it.
    """
    name = f"{quote(stream, safe='')}.sqlite"
    folder = _local_folder(location)
    if folder is not None:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        yield LocalFile(folder / name)
        return
    with tempfile.TemporaryDirectory(prefix="tap-d365fo-") as copies:
        remote, path = _remote(location, name)
        lock = _Lock(
            remote, path, clock, owner=f"{socket.gethostname()}:{os.getpid()}:{rng.getrandbits(64):x}"
        )
        lock.take()
        try:
            yield _fetched(remote, path, Path(copies) / name, lock)
        finally:
            lock.release()


def try_out(location: str) -> None:
    """Write, read and remove a small file where stores lie; raises ChangeStoreError where that fails."""
    name, words = f"check-{secrets.token_hex(8)}", b"tap-d365fo was here to check that it can write.\n"
    folder = _local_folder(location)
    if folder is not None:
        with _writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / name
            path.write_bytes(words)
            path.unlink()
        return
    remote, path_there = _remote(location, name)
    with _reaching(f"Writing to the change store at {location}"):
        remote.pipe_file(path_there, words)
        remote.invalidate_cache()
        remote.cat_file(path_there)
        remote.rm_file(path_there)


def _local_folder(location: str) -> Path | None:
    if "://" not in location:
        return Path(location)
    if location.lower().startswith("file://"):
        return Path(url2pathname(urlsplit(location).path))
    return None


# -- behind fsspec ------------------------------------------------------------------------------------------


@dataclass(slots=True)
class _RemoteFile:
    path: Path
    remote: Any
    remote_path: str
    lock: _Lock
    fetched: bytes | None
    """The header that the file had when it was fetched, None where there was none."""
    is_shared: bool = False
    parts: int | None = None
    """How many announcements stand there, once they have been asked for."""

    def renew(self) -> None:
        self.lock.renew()

    def save(self) -> None:
        with _reaching(f"Putting back the change store {self.remote_path}"):
            found = _header(self.remote, self.remote_path)
            if found not in (None, self.fetched):
                raise ChangeStoreError(
                    f"The change store {self.remote_path} was changed by another run meanwhile "
                    "and was not overwritten.",
                    remedy="Let one run at a time use a store; the next run starts from the state it is given.",
                )
            self.remote.put_file(str(self.path), self.remote_path)
            for number in reversed(range(self._counted())):  # the last first, so that no gap hides one
                self.remote.rm_file(self._announcement(number))
            self.parts = 0
        with self.path.open("rb") as file:
            self.fetched = file.read(_HEADER_BYTES)

    def announce(self, lines: bytes) -> None:
        number = self._counted()
        with _reaching(f"Writing beside the change store {self.remote_path}"):
            self.remote.pipe_file(self._announcement(number), lines)
        self.parts = number + 1

    def announced(self) -> Iterator[bytes]:
        self.remote.invalidate_cache()
        self.parts = 0
        while (lines := self._announced(self.parts)) is not None:
            self.parts += 1
            yield from lines.splitlines()

    def _counted(self) -> int:
        if self.parts is None:
            for _ in self.announced():
                pass
        return self.parts or 0

    def _announcement(self, number: int) -> str:
        """Object storage cannot append: each announcement is an object, and they are counted."""
        return f"{self.remote_path}.announced.{number}"

    def _announced(self, number: int) -> bytes | None:
        with _reaching(f"Reading beside the change store {self.remote_path}"):
            try:
                return bytes(self.remote.cat_file(self._announcement(number)))
            except FileNotFoundError:
                return None


@dataclass(slots=True)
class _Lock:
    """A lock object beside a store: who works on it, and until when that is believed."""

    remote: Any
    store: str
    clock: Clock
    owner: str
    renewed: float = field(default=0.0, init=False)

    def take(self) -> None:
        """Write the lock; raises ChangeStoreError where another run's stands."""
        with _reaching(f"Locking the change store {self.store}"):
            found = self._read()
            if found is not None and found[1] > self.clock.now():
                raise self._taken(found)
            self._write()
            found = self._read()
            if found is not None and found[0] != self.owner:
                raise self._taken(found)

    def renew(self) -> None:
        if self.clock.monotonic() - self.renewed < _RENEW_SECONDS:
            return
        # A courtesy that cannot be written costs another run's time, not this one's work.
        with contextlib.suppress(ChangeStoreError), _reaching(f"Locking the change store {self.store}"):
            self._write()

    def release(self) -> None:
        with contextlib.suppress(ChangeStoreError), _reaching(f"Releasing the change store {self.store}"):
            found = self._read()
            if found is not None and found[0] == self.owner:
                self.remote.rm_file(self._path)

    @property
    def _path(self) -> str:
        return f"{self.store}.lock"

    def _taken(self, found: tuple[str, datetime]) -> ChangeStoreError:
        owner, until = found
        return ChangeStoreError(
            f"The change store {self.store} is in use by another run ({owner.rpartition(':')[0]}).",
            remedy="Wait for that run to end: two runs of one stream cannot share a store. If it was killed, "
            f"its lock ends at {until.isoformat(timespec='seconds')}.",
        )

    def _write(self) -> None:
        until = self.clock.now() + timedelta(seconds=LOCK_SECONDS)
        text = json.dumps({"owner": self.owner, "until": until.isoformat()})
        self.remote.pipe_file(self._path, text.encode())
        self.renewed = self.clock.monotonic()

    def _read(self) -> tuple[str, datetime] | None:
        """Return owner and end; None without a lock, or where what stands there is none of ours."""
        self.remote.invalidate_cache()
        try:
            found = json.loads(self.remote.cat_file(self._path))
            until = datetime.fromisoformat(found["until"])
            return None if until.tzinfo is None else (str(found["owner"]), until)
        except (FileNotFoundError, ValueError, TypeError, KeyError):
            return None


def _remote(location: str, name: str) -> tuple[Any, str]:
    import fsspec  # noqa: PLC0415  only remote stores need it

    with _reaching(f"Reaching the change store at {location}"):
        remote, root = fsspec.core.url_to_fs(location)
    return remote, f"{root.rstrip('/')}/{name}"


def _fetched(remote: Any, path: str, copy: Path, lock: _Lock) -> StoreFile:
    with _reaching(f"Fetching the change store {path}"):
        remote.invalidate_cache()
        try:
            remote.get_file(path, str(copy))
        except FileNotFoundError:
            copy.unlink(missing_ok=True)  # drivers open the copy before they look
            return _RemoteFile(copy, remote, path, lock, None)
    with copy.open("rb") as file:
        return _RemoteFile(copy, remote, path, lock, file.read(_HEADER_BYTES))


def _header(remote: Any, path: str) -> bytes | None:
    remote.invalidate_cache()
    try:
        return bytes(remote.cat_file(path, start=0, end=_HEADER_BYTES))
    except FileNotFoundError:
        return None


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Translate what goes wrong in a folder."""
    try:
        yield
    except OSError as exc:
        raise ChangeStoreError(
            f"The change store's folder cannot be used: {path}: {exc.strerror or exc}.",
            remedy="Check the setting change_store, and the rights and the room of its folder.",
        ) from exc


@contextmanager
def _reaching(doing: str) -> Iterator[None]:
    """Translate what goes wrong behind a URL."""
    try:
        yield
    except D365FOError:
        raise
    except Exception as exc:  # the drivers of fsspec share no base class for what a store's service answers
        raise ChangeStoreError(
            f"{doing} failed: {exc or type(exc).__name__}.",
            remedy="Check the URL and its credentials, and that its package (s3fs, adlfs, gcsfs) is installed.",
        ) from exc
