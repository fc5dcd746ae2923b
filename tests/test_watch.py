"""A run can be watched in a log and by a monitor: figures by stream, counted a page at a time."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from contextlib import redirect_stdout
from pathlib import Path
from types import SimpleNamespace

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from singer import sync

from tap_d365fo import openmetrics
from tap_d365fo.errors import D365FOError
from tap_d365fo.tap import TapD365FO
from tap_d365fo.transport.session import Attempt, Hold, Wait
from tap_d365fo.watch import QUIET_SECONDS, LogView, Watch, duration

ENTITIES = ["CustomersV3", "MainAccounts"]


class Ticks:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


def session(clock: Ticks, *, waited=0.0, left=0.0, reason=None):
    return SimpleNamespace(
        clock=clock,
        pace=SimpleNamespace(waited_seconds=waited, seconds_left=left, reason=reason),
        traffic=SimpleNamespace(requests=3, bytes_on_wire=3000),
        on_event=None,
    )


def batch(rows: int, *, deleted: bool = False):
    return SimpleNamespace(block=range(rows), deleted=deleted)


READING = SimpleNamespace(expected_rows=100, companies=(1, 4))


def watch_of(clock: Ticks, view=None, **given) -> Watch:
    metrics_file = given.pop("metrics_file", None)
    return Watch(view or LogView(), session(clock, **given), metrics_file=metrics_file, now=lambda: 1.8e9)


@pytest.fixture
def said(caplog):
    """What a log heard."""
    caplog.set_level(logging.INFO, "tap_d365fo")
    return lambda: [each.message for each in caplog.records]


# -- in a log -----------------------------------------------------------------------------------------------


def test_a_log_has_a_line_for_each_stream_and_one_for_the_run(said):
    clock = Ticks()
    watch = watch_of(clock, waited=3)

    with watch.over(lambda: {"A": "sweep", "B": "full", "C": "full"}):
        watch.began("A", READING)
        watch.wrote("A", batch(40))
        clock.now += 2
        watch.wrote("A", batch(2, deleted=True))
        watch.ended("A")
        watch.began("B", READING)
        watch.failed("B")

    assert said() == [
        "A: read whole: 40 rows, 2 deletes in 2.0 s, 20 rows/s (sweep).",
        "B: not read whole: 0 rows in 0.0 s, 0 rows/s (full).",
        "1 of 3 streams read whole: 40 rows, 2 deletes in 2.0 s, of which 3.0 s waiting for F&O.",
    ]


def test_a_log_hears_of_a_long_read_at_most_every_30_seconds(said):
    clock = Ticks()
    watch = watch_of(clock)

    with watch.over(lambda: {"A": "full", "B": "full"}):
        watch.began("A", READING)
        for _ in range(65):
            clock.now += 1
            watch.wrote("A", batch(1))
            watch.tick()
        halfway = said()

    assert len(halfway) == 65 // QUIET_SECONDS
    assert halfway[0] == (
        "A: 30 of 100 rows, 1 rows/s, 30 pages, 1 of 4 companies, about 1 min 10 s left; 0 of 2 streams done."
    )


def test_a_log_hears_why_nothing_moves(said):
    clock = Ticks()
    watch = watch_of(clock, left=250, reason="Reading A: F&O answered 429: busy.")

    with watch.over(lambda: {"A": "full"}):
        watch.began("A", SimpleNamespace(expected_rows=None, companies=None))
        clock.now += QUIET_SECONDS
        watch.tick()
        halfway = said()

    assert halfway == [
        "A: 0 rows, 0 rows/s, 0 pages; 0 of 1 streams done.",
        "waiting 4 min 10 s more. Reading A: F&O answered 429: busy.",
    ]


def test_a_sweep_shows_how_many_rows_it_has_compared(said):
    clock = Ticks()
    watch = watch_of(clock)

    with watch.over(lambda: {"A": "sweep"}):
        watch.began("A", SimpleNamespace(expected_rows=None, companies=None, listed=250, to_list=1000))
        clock.now += QUIET_SECONDS
        watch.tick()
        halfway = said()

    assert halfway == [
        "A: 250 of 1,000 rows compared, 0 rows, 0 rows/s, 0 pages, about 1 min 30 s left; 0 of 1 streams done."
    ]


def test_a_stream_that_is_still_being_read_at_the_end_was_interrupted():
    watch = watch_of(Ticks())

    with pytest.raises(SystemExit), watch.over(lambda: {"A": "full", "B": "full"}):
        watch.began("A", READING)
        raise SystemExit(143)

    assert [each.state for each in watch.streams.values()] == ["interrupted", "waiting"]


def test_a_stream_that_was_read_whole_has_all_its_companies():
    watch = watch_of(Ticks())

    with watch.over(lambda: {"A": "full", "B": "full"}):
        for name in ("A", "B"):
            watch.began(name, READING)
        watch.ended("A")

    assert (watch.streams["A"].companies, watch.streams["B"].companies) == ((4, 4), (1, 4))


def test_requests_are_counted_for_the_stream_that_they_are_for():
    watch = watch_of(Ticks())

    with watch.over(lambda: {"A": "full", "B": "full"}):
        for event in (
            Attempt("reading A", 429, 0.5, 10, "A"),
            Hold("A", 7.0),
            Wait("reading A", 7.0, "busy"),
            Attempt("reading A", 200, 0.1, 2048, "A"),
            Attempt("reading the list of labels of B", 200, 0.1, 4096),
        ):
            watch.session.on_event(event)

    counted = watch.streams["A"]
    assert (counted.requests, counted.bytes_on_wire, counted.throttled_seconds) == (2, 2058, 7.0)
    assert counted.began == 99.5
    assert watch.streams["B"].requests == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "0.0 s"), (9.94, "9.9 s"), (59.4, "59 s"), (61, "1 min 01 s"), (7322, "2 h 02 min")],
)
def test_a_time_is_told_as_people_tell_it(seconds, words):
    assert duration(seconds) == words


# -- what reads tell of themselves ----------------------------------------------------------------------------


class Onlooker:
    """Notes how far each stream was at each page."""

    def __init__(self, tap: TapD365FO, monkeypatch) -> None:
        self.seen: list[tuple[str, int, int | None, tuple[int, int] | None]] = []
        wrote = tap.watch.wrote

        def note(name, batch) -> None:
            wrote(name, batch)
            stream = tap.watch.streams[name]
            self.seen.append((name, stream.seen, stream.expected, stream.companies))

        monkeypatch.setattr(tap.watch, "wrote", note)


def looked_at(monkeypatch, config, state=None):
    tap = TapD365FO(config=config, state=state)
    onlooker = Onlooker(tap, monkeypatch)
    with redirect_stdout(io.StringIO()):
        tap.sync_all()
    return onlooker.seen, tap


def test_a_read_tells_how_much_there_is_and_which_companies_are_done(sandbox, monkeypatch):
    rows = sandbox.truth("CustomersV3")

    seen, tap = looked_at(monkeypatch, sandbox.config(entities=["CustomersV3"], page_size=20))

    companies = {row["dataAreaId"] for row in rows}
    assert {expected for _, _, expected, _ in seen} == {len(rows)}
    assert [count for _, count, _, _ in seen] == sorted(count for _, count, _, _ in seen)
    assert seen[-1][1] == len(rows)
    done = [each[0] for _, _, _, each in seen if each]
    assert done == sorted(done)
    assert max(done) > 0
    done, of = tap.watch.streams["CustomersV3"].companies
    assert done == of >= len(companies)


def test_a_sweep_tells_how_much_it_compared_before_it_delivers(sandbox, monkeypatch, tmp_path):
    config = sandbox.config(entities=["CustomersV3"], page_size=20, change_store=str(tmp_path / "store"))
    state = sync(config).state
    row = sandbox.truth("CustomersV3")[0]
    key = {name: row[name] for name in ("dataAreaId", "CustomerAccount")}
    sandbox.dataset.update("CustomersV3", key, {"CredManNotes": "changed"})

    seen, tap = looked_at(monkeypatch, config, state)

    rows = len(sandbox.truth("CustomersV3"))
    stream = tap.watch.streams["CustomersV3"]
    assert [(count, expected) for _, count, expected, _ in seen] == [(rows, rows)]
    assert (stream.rows, stream.listed) == (1, rows)


# -- for a monitor ----------------------------------------------------------------------------------------


def figures(path: Path) -> dict[tuple[str, str], float]:
    """Read a metrics file with Prometheus' own parser: sample and stream to value."""
    families = list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    assert len({each.name for each in families}) == len(families)
    return {
        (sample.name, sample.labels.get("stream", "")): sample.value
        for family in families
        for sample in family.samples
    }


def test_a_monitor_finds_the_figures_of_each_stream_and_of_the_run(sandbox, tmp_path):
    path = tmp_path / "run.prom"
    sandbox.faults.add("throttle-429", path="/data/MainAccounts", count=1, retry_after=1)

    outcome = sync(sandbox.config(entities=ENTITIES, metrics_file=str(path), page_size=50))

    found = figures(path)
    assert outcome.error is None
    for name in ENTITIES:
        assert found["d365fo_stream_rows_total", name] == len(outcome.records(name))
        assert found["d365fo_stream_deletes_total", name] == 0
        assert found["d365fo_stream_received_bytes_total", name] > 1000
        assert found["d365fo_stream_duration_seconds", name] > 0
        assert found["d365fo_stream_whole", name] == 1
        assert found["d365fo_stream_failed", name] == 0
    sent = [each for each in sandbox.requests if "/data/MainAccounts" in each.path]
    assert found["d365fo_stream_requests_total", "MainAccounts"] == len(sent)
    assert found["d365fo_stream_throttled_seconds_total", "MainAccounts"] == pytest.approx(1, abs=0.1)
    assert found["d365fo_stream_throttled_seconds_total", "CustomersV3"] == 0
    assert found["d365fo_run_throttled_seconds_total", ""] == pytest.approx(1, abs=0.1)
    assert found["d365fo_run_rows_total", ""] == sum(len(outcome.records(name)) for name in ENTITIES)
    assert found["d365fo_run_requests_total", ""] >= len(sent)
    assert (found["d365fo_run_streams", ""], found["d365fo_run_streams_whole", ""]) == (2, 2)
    assert (found["d365fo_run_whole", ""], found["d365fo_run_ended", ""]) == (1, 1)
    assert [each.name for each in tmp_path.iterdir()] == ["run.prom"]


def test_a_failed_stream_is_not_whole_and_neither_is_the_run(sandbox, tmp_path):
    sandbox.switches["auth.denied"] = "MainAccounts"
    path = tmp_path / "run.prom"

    outcome = sync(sandbox.config(entities=ENTITIES, metrics_file=str(path)))

    found = figures(path)
    assert outcome.error is not None
    assert found["d365fo_stream_whole", "MainAccounts"] == 0
    assert found["d365fo_stream_failed", "MainAccounts"] == 1
    assert found["d365fo_stream_whole", "CustomersV3"] == 1
    assert (found["d365fo_run_whole", ""], found["d365fo_run_streams_failed", ""]) == (0, 1)
    assert found["d365fo_run_ended", ""] == 1


@pytest.mark.parametrize("changes", [{"client_secret": "wrong-secret"}, {"entities": ["NoSuchEntity"]}])
def test_a_run_that_never_began_is_not_taken_for_the_last_one(sandbox, tmp_path, changes):
    path = tmp_path / "run.prom"
    settings = sandbox.config(entities=["MainAccounts"], metrics_file=str(path))
    sync(settings)
    before = figures(path)

    with pytest.raises(D365FOError):
        TapD365FO(config={**settings, **changes})

    assert before["d365fo_run_whole", ""] == 1
    after = figures(path)
    assert (after["d365fo_run_whole", ""], after["d365fo_run_ended", ""]) == (0, 1)
    assert after["d365fo_run_streams", ""] == 0


def test_the_deletes_of_a_sweep_are_counted(sandbox, tmp_path):
    path = tmp_path / "run.prom"
    settings = sandbox.config(
        entities=["MainAccounts"], change_store=str(tmp_path / "store"), metrics_file=str(path)
    )
    first = sync(settings)
    for row in sandbox.truth("MainAccounts")[:3]:
        sandbox.dataset.delete(
            "MainAccounts", {name: row[name] for name in ("ChartOfAccounts", "MainAccountId")}
        )

    second = sync(settings, state=first.state)

    found = figures(path)
    assert second.error is None
    assert found["d365fo_stream_deletes_total", "MainAccounts"] == 3
    assert found["d365fo_stream_rows_total", "MainAccounts"] == 0
    assert found["d365fo_run_deletes_total", ""] == 3


def test_rows_in_batch_files_are_counted(sandbox, tmp_path):
    path, files = tmp_path / "run.prom", tmp_path / "files"
    files.mkdir()
    batches = {"encoding": {"format": "jsonl", "compression": "gzip"}, "storage": {"root": f"file://{files}"}}

    outcome = sync(
        sandbox.config(entities=["MainAccounts"], metrics_file=str(path), batch_config=batches, page_size=20)
    )

    found = figures(path)
    assert outcome.error is None
    assert found["d365fo_stream_rows_total", "MainAccounts"] == len(sandbox.truth("MainAccounts"))
    assert found["d365fo_stream_pages_total", "MainAccounts"] == len(list(files.iterdir()))
    assert found["d365fo_stream_whole", "MainAccounts"] == 1


def test_the_metrics_are_there_from_the_start_and_renewed_every_30_seconds(tmp_path):
    clock, path = Ticks(), tmp_path / "run.prom"
    watch = watch_of(clock, metrics_file=str(path))
    seen = []

    with watch.over(lambda: {"A": "full"}):
        watch.began("A", READING)
        for _ in range(35):
            clock.now += 1
            watch.wrote("A", batch(1))
            watch.tick()
            seen.append(figures(path)["d365fo_stream_rows_total", "A"])
        watch.ended("A")

    assert seen == [0] * 29 + [30] * 6
    assert figures(path)["d365fo_stream_rows_total", "A"] == 35
    assert figures(path)["d365fo_run_timestamp_seconds", ""] == 1.8e9


def test_whoever_reads_the_metrics_meanwhile_finds_them_whole(tmp_path, monkeypatch):
    path = tmp_path / "run.prom"
    openmetrics.write(str(path), "old\n# EOF\n")

    def fails(draft: Path, target: Path) -> None:
        assert draft.read_text() == "new\n# EOF\n"
        assert target.read_text() == "old\n# EOF\n"
        raise OSError("The disk is full.")

    monkeypatch.setattr(Path, "replace", fails)
    with pytest.raises(OSError, match="disk is full"):
        openmetrics.write(str(path), "new\n# EOF\n")

    assert path.read_text() == "old\n# EOF\n"
    assert [each.name for each in tmp_path.iterdir()] == ["run.prom"]


@pytest.mark.parametrize("name", ["no/run.prom", ".", "run\0.prom"], ids=["no folder", "a folder", "no name"])
def test_a_metrics_file_that_cannot_be_written_costs_no_rows_and_one_line(sandbox, tmp_path, said, name):
    outcome = sync(sandbox.config(entities=ENTITIES, metrics_file=f"{tmp_path}/{name}"))

    assert outcome.error is None
    assert sum("cannot be written" in each for each in said()) == 1


def test_no_secret_and_no_value_of_a_row_is_in_the_metrics(sandbox, tmp_path):
    path = tmp_path / "run.prom"

    outcome = sync(sandbox.config(entities=["CustomersV3"], metrics_file=str(path)))

    text = path.read_text()
    assert sandbox.client_secret not in text
    assert not any(each["CustomerAccount"] in text for each in outcome.records("CustomersV3"))


# -- as a program -----------------------------------------------------------------------------------------


def run_tap(sandbox, tmp_path, **environ) -> subprocess.CompletedProcess[str]:
    config = tmp_path / "config.json"
    config.write_text(json.dumps(sandbox.config(entities=ENTITIES)))
    return subprocess.run(
        [str(Path(sys.executable).with_name("tap-d365fo")), "--config", str(config)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **environ},
    )


def counted(text: str) -> dict[str, int]:
    rows = dict.fromkeys(ENTITIES, 0)
    for line in text.splitlines():
        message = json.loads(line)
        if message["type"] == "RECORD":
            rows[message["stream"]] += 1
    return rows


def test_a_log_has_our_lines_beside_the_metrics_of_the_sdk(sandbox, tmp_path):
    done = run_tap(sandbox, tmp_path)

    rows = counted(done.stdout)
    metrics = [
        json.loads(line.partition("METRIC: ")[2]) for line in done.stderr.splitlines() if "METRIC: " in line
    ]
    told = {each["tags"]["stream"]: each["value"] for each in metrics if each["metric"] == "record_count"}
    assert done.returncode == 0
    assert told == rows
    assert sum(each["metric"] == "sync_duration" for each in metrics) == len(ENTITIES)
    for name in ENTITIES:
        assert f"{name}: read whole: {rows[name]:,} rows in " in done.stderr
    assert f"2 of 2 streams read whole: {sum(rows.values()):,} rows in " in done.stderr
    assert "\x1b[" not in done.stderr


_STRUCTURED = """
version: 1
disable_existing_loggers: false
formatters:
  structured:
    (): singer_sdk.logging.StructuredFormatter
handlers:
  file:
    class: logging.FileHandler
    filename: {file}
    formatter: structured
root:
  level: INFO
  handlers: [file]
"""


def test_logs_can_be_json_as_the_sdk_is_told(sandbox, tmp_path):
    file, config = tmp_path / "log.jsonl", tmp_path / "logging.yml"
    config.write_text(_STRUCTURED.format(file=file))

    done = run_tap(sandbox, tmp_path, SINGER_SDK_LOG_CONFIG=str(config))

    logged = [json.loads(line) for line in file.read_text().splitlines()]
    rows = counted(done.stdout)
    messages = [each["message"] for each in logged]
    assert done.returncode == 0
    assert any(each.startswith(f"CustomersV3: read whole: {rows['CustomersV3']}") for each in messages)
    assert any(each.startswith("2 of 2 streams read whole") for each in messages)
    assert {each["metric_info"]["metric"] for each in logged if each.get("metric_info")} >= {"record_count"}
