"""The programs that are compared, each with its settings and catalog, against one load server."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks import measure
from benchmarks.load_server.service import TENANT
from benchmarks.measure import Run
from benchmarks.server_process import ROOT, LoadServer, load_server

_BIN = Path(sys.executable).parent

Catalog = dict[str, Any]
Edit = Callable[[dict[str, Any]], None]
"""Changes one entry of a catalog in place."""


@dataclass(frozen=True, slots=True)
class Program:
    """A command and what it is called in tables."""

    label: str
    command: tuple[str, ...]
    scratch: Path | None = None
    """A folder that is emptied before each run."""


@dataclass(slots=True)
class Bench:
    """A load server, and a folder for settings, catalogs and logs."""

    server: LoadServer
    folder: Path
    _made: int = field(default=0)
    _catalogs: dict[tuple[str, ...], Catalog] = field(default_factory=dict)

    # -- programs ---------------------------------------------------------------------------------------

    def tap(
        self,
        label: str,
        entities: tuple[str, ...],
        *,
        edit: Edit | None = None,
        state: Mapping[str, Any] | None = None,
        **config: Any,
    ) -> Program:
        """Return this project's tap, reading these entities with their catalog."""
        catalog = self._edited(self.catalog(entities, **config), edit)
        settings = self._file("config", self.config(entities, **config))
        command = [
            str(_BIN / "tap-d365fo"),
            "--config",
            settings,
            "--catalog",
            self._file("catalog", catalog),
        ]
        command += ["--state", self._file("state", state)] if state is not None else []
        return Program(label, tuple(command), scratch=_batch_folder(config))

    def discovery(self, label: str, entities: tuple[str, ...] = ()) -> Program:
        """Return this project's tap, discovering."""
        command = (
            str(_BIN / "tap-d365fo"),
            "--config",
            self._file("config", self.config(entities)),
            "--discover",
        )
        return Program(label, command)

    def given_catalog(self, label: str, catalog: Catalog) -> Program:
        """Return this project's tap with a catalog as it is."""
        settings, entries = self._file("config", self.config(())), self._file("catalog", catalog)
        return Program(label, (str(_BIN / "tap-d365fo"), "--config", settings, "--catalog", entries))

    def vanilla(self, entities: tuple[str, ...], *, edit: Edit | None = None, **config: Any) -> Program:
        """Return the usual singer-sdk tap, reading these entities with a catalog as Meltano would give it."""
        command = [sys.executable, "-m", "benchmarks.vanilla_tap"]
        settings = self._file("config", self.config(entities, **config))
        found = self.run_kept(Program("", (*command, "--config", settings, "--discover")))
        catalog = self._edited(json.loads(found), edit)
        options = ("--config", settings, "--catalog", self._file("catalog", catalog))
        return Program("vanilla singer-sdk tap", (*command, *options), scratch=_batch_folder(config))

    def airbyte(self, label: str, entity: str) -> Program:
        """Return this project's Airbyte door, reading one entity."""
        source, settings = str(_BIN / "source-d365fo"), self._file("config", self.config((entity,)))
        found = self.run_kept(Program("", (source, "discover", "--config", settings)))
        message = next(each for each in map(json.loads, found.splitlines()) if each["type"] == "CATALOG")
        mode = {"sync_mode": "full_refresh", "destination_sync_mode": "overwrite"}
        streams = [{"stream": each, **mode} for each in message["catalog"]["streams"]]
        catalog = self._file("configured", {"streams": streams})
        return Program(label, (source, "read", "--config", settings, "--catalog", catalog))

    def floor(self, entity: str, *, page_size: int = 10_000) -> Program:
        """Return the floor program over one entity."""
        url = f"{self.server.url}/data/{entity}?cross-company=true"
        command = (sys.executable, "-m", "benchmarks.floor", "rows", url, str(page_size))
        return Program("floor: download and wrap", command)

    def expat(self) -> Program:
        """Return the bare expat pass over the service's metadata."""
        url = f"{self.server.url}/data/$metadata"
        return Program("bare expat pass", (sys.executable, "-m", "benchmarks.floor", "metadata", url))

    # -- running ----------------------------------------------------------------------------------------

    def run(self, program: Program, *, lines: int = 0) -> Run:
        """Run a program; raises ProgramFailed where it fails or writes fewer lines than it has to."""
        if program.scratch:
            shutil.rmtree(program.scratch, ignore_errors=True)
            program.scratch.mkdir()
        cpu_before = self.server.reset()["cpu_seconds"]
        run = measure.run(program.command, env=self._env(), cwd=self.folder)
        if run.lines < lines:
            raise measure.ProgramFailed(f"{program.label} wrote {run.lines} lines in place of {lines}.")
        counted = self.server.report()
        return replace(run, server={**counted, "cpu_seconds": counted["cpu_seconds"] - cpu_before})

    def run_kept(self, program: Program) -> bytes:
        """Run a program and return its output."""
        kept = self.folder / "kept"
        measure.run(program.command, env=self._env(), cwd=self.folder, keep=kept)
        return kept.read_bytes()

    def _env(self) -> dict[str, str]:
        trusted = {"REQUESTS_CA_BUNDLE": self.server.ca_file, "PYTHONPATH": str(ROOT)}
        # Modules compiled once, as where a package is installed: else start-up is all that short runs show.
        kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return {**kept, **trusted, "NO_PROXY": "localhost,127.0.0.1"}

    # -- settings and catalogs --------------------------------------------------------------------------

    def config(self, entities: tuple[str, ...], **more: Any) -> dict[str, Any]:
        """Return settings for this server."""
        address = {"environment_url": self.server.url, "authority": self.server.url}
        identity = {"tenant_id": TENANT, "client_id": TENANT, "client_secret": "not-a-secret"}
        return {**address, **identity, "entities": list(entities), **more}

    def catalog(self, entities: tuple[str, ...], **config: Any) -> Catalog:
        """Return the catalog of some entities as this project's tap discovers it; asked for once."""
        kept = {name: value for name, value in config.items() if name in ("change_store", "decimals")}
        key = (*entities, *kept)
        if key not in self._catalogs:
            settings = self._file("config", self.config(entities, **kept))
            command = (str(_BIN / "tap-d365fo"), "--config", settings, "--discover")
            self._catalogs[key] = json.loads(self.run_kept(Program("", command)))
        return self._catalogs[key]

    def _edited(self, catalog: Catalog, edit: Edit | None) -> Catalog:
        catalog = json.loads(json.dumps(catalog))
        for entry in catalog["streams"]:
            select(entry)
            if edit:
                edit(entry)
        return catalog

    def _file(self, kind: str, value: Any) -> str:
        self._made += 1
        path = self.folder / f"{kind}-{self._made}.json"
        path.write_text(json.dumps(value))
        return str(path)


@contextmanager
def bench(*, rows: Mapping[str, int], companies: int = 1, full_metadata: bool = False) -> Iterator[Bench]:
    """Start a load server and make a folder; both go with the block."""
    with (
        TemporaryDirectory(prefix="d365fo-bench-") as folder,
        load_server(rows=rows, companies=companies, full_metadata=full_metadata) as server,
    ):
        yield Bench(server, Path(folder))


# -- edits of catalog entries --------------------------------------------------------------------------------


def select(entry: dict[str, Any], *, wanted: bool = True) -> None:
    """Select an entry."""
    for each in entry["metadata"]:
        if not each["breadcrumb"]:
            each["metadata"]["selected"] = wanted


def without_ax_dates(entry: dict[str, Any]) -> None:
    """Make AX dates instants, as if the entity had none: nothing in a record has to be touched then."""
    for each in entry["metadata"]:
        if each["metadata"].get("ax-type") == "Date":
            each["metadata"]["ax-type"] = "UtcDateTime"
            entry["schema"]["properties"][each["breadcrumb"][1]]["format"] = "date-time"


def half_deselected(entry: dict[str, Any]) -> None:
    """Deselect every second column, keys excepted."""
    columns = [each for each in entry["metadata"] if each["breadcrumb"]]
    for each in columns[1::2]:
        if each["breadcrumb"][1] not in entry["key_properties"]:
            each["metadata"]["selected"] = False


def _batch_folder(config: Mapping[str, Any]) -> Path | None:
    root = config.get("batch_config", {}).get("storage", {}).get("root")
    return Path(root.removeprefix("file://")) if root else None
