"""Random histories of sweeps: rows come, change and go; runs are cut short, states and stores get lost.

After each run that was let through under a quiet sky, a target that applied what it was given holds what
the environment holds.
"""

from __future__ import annotations

import io
import json
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fast import FastClock, FastTap, fast_discover, trusting
from singer import Target, select
from test_reading import canonical, expected
from weather import MILD

from tap_d365fo.errors import D365FOError
from tap_d365fo.extraction.store_location import LocalFile
from tap_d365fo.sandbox import entities
from tap_d365fo.sandbox.server import Sandbox
from tap_d365fo.sandbox.table import decode_etag, encode_etag

SWEPT = (
    "CustomersV3",
    "ExchangeRates",
    "CustomerPostingSetups",
    "CustomerDocumentAttachments",
    "LedgerJournalLines",
    "ShipmentLabelSettings",
)
QUIET = (
    "503-bare",
    "truncated-body",
    "connection-reset",
    "unauthorized-401",
    "broken-json",
    "empty-page-with-link",
)
"""Weather that passes."""


@dataclass(frozen=True)
class History:
    """One history, all of it in its seed."""

    seed: int


@dataclass
class HistoryVerdict:
    """What became of a history."""

    history: History
    runs: int = 0
    crashes: int = 0
    wrong: list[str] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    @property
    def is_good(self) -> bool:
        return not self.wrong

    def __str__(self) -> str:
        return f"history {self.history.seed}: {'; '.join(self.steps)}: {'; '.join(self.wrong)}"


def histories(count: int, *, seed: int) -> Iterator[History]:
    """Return histories, drawn by the seed."""
    yield from (History(seed * 100_000 + number) for number in range(count))


@cache
def _catalog() -> str:
    with Sandbox(entities.built_in(seed=7, scale=0.05)) as box, trusting(box.ca_file):
        config = box.config(change_store="unused", include_binary=True)
        catalog = fast_discover(config, clock=FastClock())
    return json.dumps({"streams": [each for each in catalog["streams"] if each["stream"] in SWEPT]})


@cache
def _schema(stream: str) -> dict[str, Any]:
    return next(each for each in json.loads(_catalog())["streams"] if each["stream"] == stream)


def live(history: History) -> HistoryVerdict:
    """Play one history through to its end."""
    with tempfile.TemporaryDirectory() as folder:
        life = _Life(history, Path(folder))
        with life.box, trusting(life.box.ca_file):
            for _ in range(life.rng.randint(2, 5)):
                life.step()
            life.recover()
        return life.verdict


class _Kill(BaseException):
    """The process ends here."""


class _Pipe(io.StringIO):
    """A pipe whose `moment` comes at one of its lines."""

    def __init__(self, at: int | None, moment: Callable[[], None]) -> None:
        super().__init__()
        self._left, self._moment = at, moment

    def write(self, text: str) -> int:
        if self._left is None:
            return super().write(text)
        lines = text.splitlines(keepends=True)
        if len(lines) <= self._left:
            self._left -= len(lines)
            return super().write(text)
        super().write("".join(lines[: self._left]))
        self._left = None
        self._moment()
        raise AssertionError("the moment must end the process")


class _Life:
    def __init__(self, history: History, folder: Path) -> None:
        self.rng = random.Random(f"history/{history.seed}")
        self.verdict = HistoryVerdict(history)
        self.store = folder / "store"
        self.saved = folder / "saved"
        self.streams = sorted(self.rng.sample(SWEPT, 2))
        self.dataset = entities.built_in(seed=history.seed % 50, scale=0.05)
        self.box = Sandbox(self.dataset, switches={"companies.hidden": ""}, seed=history.seed)
        self.target = Target()
        self.state: dict[str, Any] | None = None
        self.older: list[dict[str, Any] | None] = [None]
        self.settings: dict[str, Any] = {}
        self.fresh = 0
        self.joined: dict[tuple[str, str], tuple[dict[str, Any], list[list[int]]]] = {}
        """By a row's version what it was before a joined row came."""
        for name in self.streams:
            if self.rng.random() < 0.1:
                self.dataset.set_etag_pairs(name, 0)

    # -- what happens -----------------------------------------------------------------------------------

    def step(self) -> None:
        """Change some rows, then run somehow."""
        self.change(self.rng.randint(0, 6))
        how = self.rng.choice(
            (
                "through",
                "through",
                "killed",
                "killed",
                "target",
                "target",
                "killed_in_the_store",
                "hidden",
                "founded",
                "busy",
                "weather",
                "narrowed",
                "values",
            )
        )
        self.verdict.steps.append(how)
        getattr(self, f"_{how}")()
        loss = self.rng.random()
        if loss < 0.08:
            self.verdict.steps.append("state lost")
            self.state = None
        elif loss < 0.16:
            self.verdict.steps.append("old state")
            self.state = self.rng.choice(self.older)
        elif loss < 0.24 and self.store.exists():
            self.verdict.steps.append("store lost")
            shutil.rmtree(self.store)

    def _through(self) -> None:
        self.recover()

    def _killed(self) -> None:
        """The tap ends at one of its lines; the store stays as it was at that instant."""
        text = self.run(at=self.rng.choice((self.rng.randint(0, 8), self.rng.randint(0, 80))))
        self.take(text)
        self.verdict.crashes += 1

    def _target(self) -> None:
        """The target fails at some line, and its last state may be older than what it applied."""
        lines = self.run().splitlines()
        self.take("\n".join(lines[: self.rng.randint(0, len(lines))]), forgets=self.rng.random() < 0.5)
        self.verdict.crashes += 1

    def _killed_in_the_store(self) -> None:
        """The tap ends while the store is brought to its place: before or after, with all told and no state out."""
        usual, after = LocalFile.save, self.rng.random() < 0.5

        def save(file: LocalFile) -> None:
            if after:
                usual(file)
            self._keep_store()

        with patch.object(LocalFile, "save", save):
            self.take(self.run())
        self.verdict.crashes += 1

    def _hidden(self) -> None:
        """The service user loses a company for a run; its rows stay, and the run says so."""
        self.box.switches["companies.hidden"] = self.rng.choice(("usmf", "ussi", "demf"))
        self.take(self.run())
        self.box.switches["companies.hidden"] = ""

    def _founded(self) -> None:
        """There is a new company, with rows like another's."""
        self.fresh += 1
        company, like = f"n{self.fresh:03}", self.rng.choice(self.dataset.rows("LegalEntities"))
        self.dataset.insert("LegalEntities", {**like, "LegalEntityId": company.upper()})
        for stream in ("CustomerGroups", *self.streams):  # what has no rows anywhere else is taken for hidden
            rows = self.dataset.rows(stream)
            if rows and "dataAreaId" in rows[0]:
                for row in self.rng.sample(rows, min(3, len(rows))):
                    with suppress(ValueError):  # two companies' rows of one key
                        self.dataset.insert(stream, {**row, "dataAreaId": company})
        self.recover()

    def _busy(self) -> None:
        """Rows change while they are read."""
        for _ in range(self.rng.randint(1, 3)):
            self.box.before(r"^/data/", lambda: self.change(2), nth=self.rng.randint(1, 12))
        self.take(self.run())
        self.box.front._hooks.clear()

    def _weather(self) -> None:
        """It storms; when all was read nevertheless, all is there."""
        self.box.faults.add(MILD[self.rng.choice(QUIET)].replace("0.08", "0.2"))
        if self.rng.random() < 0.4:
            path = rf"^/data/{self.rng.choice(self.streams)}\b"
            nth = "|".join(str(self.rng.randint(1, 12)) for _ in range(2))
            self.box.faults.add(f"permanent-400:path={path},nth={nth}")
        if self.rng.random() < 0.3:
            company = self.rng.choice(("usmf", "ussi", "demf"))
            self.box.faults.add(f"dropped-company:company={company}")
        self.take(self.run())
        self.box.faults.clear()

    def _narrowed(self) -> None:
        """Fewer companies for one run; what others hold stays."""
        self.settings["companies"] = sorted(self.rng.sample(("usmf", "ussi", "demf"), 2))
        self.take(self.run())
        del self.settings["companies"]

    def _values(self) -> None:
        """A setting that changes values, or an update that changes etags."""
        if self.rng.random() < 0.5:
            self.settings["null_dates"] = not self.settings.get("null_dates", True)
        else:
            self.dataset.set_etag_pairs(self.rng.choice(self.streams), self.rng.randint(0, 6))
        self.recover()

    def recover(self) -> None:
        """Run under a quiet sky, let everything through, and compare."""
        error = self.take(self.run())
        if error is not None:
            self.verdict.wrong.append(f"a quiet run failed: {error}")
        for stream in self.streams:
            self._compare(stream)

    def _compare(self, stream: str) -> None:
        schema = _schema(stream)
        null_dates = self.settings.get("null_dates", True)
        rows = self.dataset.rows(stream)
        truth = expected(
            rows, schema["schema"], schema["key_properties"] if null_dates else list(rows[0] if rows else {})
        )
        held = [
            {name: value for name, value in row.items() if name != "_sdc_deleted_at"}
            for row in self.target.rows.get(stream, {}).values()
        ]
        wanted, got = set(canonical(truth)), set(canonical(held))
        if wanted != got:
            lacks, has = sorted(wanted - got), sorted(got - wanted)
            self.verdict.wrong.append(
                f"after run {self.verdict.runs} {stream} lacks {len(lacks)} of {len(wanted)} rows and has {len(has)} "
                f"others: {lacks[:1]}, {has[:1]}"
            )

    # -- the machinery ----------------------------------------------------------------------------------

    def change(self, times: int) -> None:
        """Insert, update or delete some rows."""
        for _ in range(times):
            stream = self.rng.choice(self.streams)
            rows = self.dataset.rows(stream)
            if not rows:
                continue
            key = self.dataset.table(stream).definition.key
            row = self.rng.choice(rows)
            kind = self.rng.random()
            with suppress(ValueError):  # a key that is there already
                if kind < 0.3:
                    self.dataset.update(stream, row, self._touched(row, key))
                elif kind < 0.4:
                    self._join(stream, row, self._touched(row, key))
                elif kind < 0.65:
                    self.dataset.delete(stream, row)
                elif kind < 0.7:
                    company = row.get("dataAreaId")
                    for each in rows:
                        if each.get("dataAreaId") == company:
                            self.dataset.delete(stream, each)
                else:
                    self.dataset.insert(stream, self._new(row, key))

    def _join(self, stream: str, row: Mapping[str, Any], changes: dict[str, Any]) -> None:
        """A joined row comes or goes: with it what it brought; without it the version is that of before."""
        with self.dataset.lock:
            table = self.dataset.table(stream)
            stored = table.find({name: row[name] for name in table.definition.key})
            pairs = decode_etag(stored[0]) if stored else []
            if stored is None or len(pairs) < 2:
                return
            before = self.joined.pop((stream, stored[0]), None)
            if before is not None:
                table.update(stored, *before)
                return
            joined = [*pairs[:-1], [self.rng.randint(2, 10**6), 5637144576 + self.rng.randint(0, 10**6)]]
            self.joined[stream, encode_etag(joined)] = ({name: row[name] for name in changes}, pairs)
            table.update(stored, changes, joined)

    def _touched(self, row: Mapping[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
        texts = [
            name
            for name, value in row.items()
            if isinstance(value, str) and name not in key and self._is_text(name, row)
        ]
        return {self.rng.choice(texts): f"changed {self.rng.random()}"} if texts else {}

    def _is_text(self, name: str, row: Mapping[str, Any]) -> bool:
        return any(
            word in name for word in ("Name", "Notes", "Text", "Description", "Voucher", "CarrierAccount")
        ) or (name == "PostingProfile")

    def _new(self, row: Mapping[str, Any], key: tuple[str, ...]) -> dict[str, Any]:
        """A row like another under a new key, or under one that may have been deleted."""
        self.fresh += 1
        changed = dict(row)
        for name in key:
            value = row[name]
            if isinstance(value, Decimal):
                changed[name] = value + Decimal(self.rng.randint(1, 300)) / 2
            elif name in (
                "CustomerAccount",
                "CustomerAccountOrGroup",
                "SettingName",
                "ToCurrency",
                "RateTypeName",
            ):
                changed[name] = self.rng.choice(
                    (f"N-{self.fresh}", f"N-{self.rng.randint(1, 9)}", "N*1", " n-1")
                )
            elif name == "DocumentAttachmentId":
                changed[name] = (
                    f"{self.rng.getrandbits(32):08x}-0000-4000-8000-{self.rng.getrandbits(48):012x}"
                )
        return changed

    def run(self, *, at: int | None = None) -> str:
        """Run the tap, to its end or to one of its lines; return what it wrote."""
        self.verdict.runs += 1
        self.error: BaseException | None = None
        clock = FastClock()
        tap_class = type("FastTap", (FastTap,), {"clock": clock, "seed": self.verdict.history.seed})
        config = self.box.config(
            change_store=str(self.store),
            page_size=self.rng.choice((3, 7, 50)),
            include_binary=True,
            **self.settings,
        )
        catalog = select(json.loads(_catalog()), *self.streams)
        pipe = _Pipe(at, self._keep_store)
        killed = False
        try:
            with redirect_stdout(pipe):
                tap_class(config=config, catalog=catalog, state=self.state).sync_all()
        except _Kill:
            killed = True
        except (D365FOError, SystemExit) as exc:
            self.error = exc
        if killed:
            shutil.rmtree(self.store, ignore_errors=True)
            if self.saved.exists():
                self.saved.rename(self.store)
        return pipe.getvalue()

    def _keep_store(self) -> None:
        if self.store.exists():
            shutil.copytree(self.store, self.saved)
        raise _Kill

    def take(self, text: str, *, forgets: bool = False) -> BaseException | None:
        """Let the target apply what was written; the state that it saves may be any that came, or none."""
        messages = [json.loads(line, parse_float=Decimal) for line in text.split("\n") if line]
        self.target.apply(messages)
        states = [each["value"] for each in messages if each["type"] == "STATE"]
        if forgets:
            states = states[: self.rng.randint(0, len(states))]
        if states:
            self.state = states[-1]
            self.older.append(self.state)
        return self.error
