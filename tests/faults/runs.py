"""One run under one sky, and a verdict on it: what was lost, doubled, leaked, sent too early, or said falsely."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import cache
from typing import Any
from urllib.parse import quote, quote_plus

from fast import TIMES, FastClock, fast_discover, fast_sync, listening, trusting
from singer import Outcome, Target, select
from test_reading import canonical, expected
from weather import STREAMS, WAIT, Case

from tap_d365fo.sandbox import entities
from tap_d365fo.sandbox.dataset import Dataset
from tap_d365fo.sandbox.faults import Fault
from tap_d365fo.sandbox.server import Sandbox

ON_ITS_WAY_S = 0.25
"""A request that arrives so soon after a Retry-After went out may have been sent before it came."""

Reader = Callable[..., Outcome]


@dataclass
class Verdict:
    """What is to be said of one run."""

    case: Case
    lost: int = 0
    doubled: int = 0
    lies: list[str] = field(default_factory=list)
    """What was false in how it ended: exit code, names, or the state it left."""
    leaks: int = 0
    violations: int = 0
    seconds: float = 0.0

    @property
    def is_good(self) -> bool:
        return not (self.lost or self.doubled or self.lies or self.leaks or self.violations)

    def __str__(self) -> str:
        return (
            f"{self.case.name} (seed {self.case.seed}, {' '.join(self.case.faults)}): lost {self.lost}, doubled "
            f"{self.doubled}, leaks {self.leaks}, violations {self.violations}; {'; '.join(self.lies)}"
        )


@cache
def environment() -> tuple[Dataset, dict[str, Any]]:
    """Return rows that no run changes, and the catalog that selects the streams."""
    dataset = entities.built_in(seed=7, scale=0.4)
    with Sandbox(dataset) as box, trusting(box.ca_file):
        return dataset, select(fast_discover(box.config(), clock=FastClock()), *STREAMS)


def fast_sandbox(dataset: Dataset, case: Case) -> Sandbox:
    """Return a sandbox whose clock runs as fast as the tap's."""
    switches = {"companies.hidden": "", **case.switches}
    box = Sandbox(dataset, faults=case.faults, switches=switches, seed=case.seed)
    for stream, place in case.poison:
        row = dataset.rows(stream)[place]
        key = [str(row[name]) for name in dataset.table(stream).definition.key]
        box.faults.add(Fault("error-500-poisoned-row", path=rf"^/data/{stream}\b", key=key))
    began, epoch = time.monotonic(), datetime.now(timezone.utc)
    box.clock = lambda: epoch + timedelta(seconds=(time.monotonic() - began) * TIMES)
    return box


def run(case: Case, reader: Reader = fast_sync) -> Verdict:
    """Run the reader under a sky, then once more from its last STATE under a calm one."""
    dataset, catalog = environment()
    verdict = Verdict(case)
    with fast_sandbox(dataset, case) as box, trusting(box.ca_file), listening() as lines:
        settings = {"page_size": 5, "max_parallel_requests": 8, **case.settings}
        began = time.monotonic()
        outcome = reader(box.config(**settings), catalog, clock=FastClock(), seed=case.seed)
        verdict.seconds = (time.monotonic() - began) * TIMES
        asked = len(box.token_requests)
        verdict.violations = len(list(_violations(box)))
        _compare(verdict, outcome, box)
        _judge_end(verdict, outcome, lines, asked)
        if outcome.error is not None:
            _judge_state(verdict, outcome, box, settings, reader)
        verdict.leaks = len(box.leaks) + len(list(_secrets(outcome, lines, box)))
    return verdict


def _compare(verdict: Verdict, outcome: Outcome, box: Sandbox) -> None:
    """Count rows lost and doubled in the streams that had to come whole."""
    case = verdict.case
    may_fail = set(case.failing) if case.failing else set(STREAMS)
    excused = may_fail if outcome.error is not None and case.ends != "whole" else set()
    for stream in STREAMS:
        wanted, got = truth(case, outcome, box, stream), Counter(canonical(outcome.records(stream)))
        verdict.doubled += sum((got - wanted).values())
        if stream not in excused:
            verdict.lost += sum((wanted - got).values())
    poisoned = {stream for stream, _ in (*case.missing, *case.poison)}
    for stream in poisoned:
        wanted, got = truth(case, outcome, box, stream), Counter(canonical(outcome.records(stream)))
        verdict.lost += sum((wanted - got).values())


def truth(case: Case, outcome: Outcome, box: Sandbox, stream: str) -> Counter[str]:
    """Return the rows that can be read at all, as the stream's schema spells them."""
    schemas = outcome.of("SCHEMA", stream)
    schema = schemas[0] if schemas else _schema_of(stream)
    rows = expected(box.truth(stream), schema["schema"], schema["key_properties"])
    unreadable = {place % len(rows) for each, place in case.poison if each == stream}
    rows = [row for place, row in enumerate(rows) if place not in unreadable]
    gone = {name for each, name in case.dropped if each == stream}
    rows = [{name: value for name, value in row.items() if name not in gone} for row in rows]
    texts = [text for each, text in case.missing if each == stream]
    return Counter(line for line in canonical(rows) if not any(text in line for text in texts))


def _schema_of(stream: str) -> dict[str, Any]:
    _, catalog = environment()
    return next(each for each in catalog["streams"] if each["stream"] == stream)


def _judge_end(verdict: Verdict, outcome: Outcome, lines: list[str], token_requests: int) -> None:
    case, error = verdict.case, outcome.error
    if case.ends == "whole" and error is not None:
        verdict.lies.append(f"it failed: {error}")
    if case.ends == "fails" and error is None:
        verdict.lies.append("it ended well")
    if error is None and (verdict.lost or verdict.doubled):
        verdict.lies.append("it ended well without every row")
    text = f"{error} {' '.join(lines)}"
    words = [*case.says, *(_last_of_key(stream, place) for stream, place in case.poison)]
    verdict.lies += [f"{word!r} is not said" for word in words if word not in text]
    verdict.lies += [
        f"{stream} is not named"
        for stream in case.failing
        if case.ends == "fails" and stream not in str(error)
    ]
    if case.most_tokens is not None and token_requests > case.most_tokens:
        verdict.lies.append(f"{token_requests} token requests")
    if verdict.seconds > case.most_seconds:
        verdict.lies.append(f"it took {verdict.seconds:.0f} s")
    if "Traceback" in text:
        verdict.lies.append(f"a traceback: {text[text.index('Traceback') :][:1500]}")


def _last_of_key(stream: str, place: int) -> str:
    dataset, _ = environment()
    return str(dataset.rows(stream)[place][dataset.table(stream).definition.key[-1]])


def _judge_state(
    verdict: Verdict, outcome: Outcome, box: Sandbox, settings: Mapping[str, Any], reader: Reader
) -> None:
    """A failed run's last STATE must lead on: a calm run from there makes the target hold the truth."""
    box.faults.clear()
    box.switches.reset()
    box.switches["companies.hidden"] = ""
    _, catalog = environment()
    states = outcome.of("STATE")
    calm = {name: value for name, value in settings.items() if name != "entity_options"}
    state = states[-1]["value"] if states else None
    second = reader(box.config(**calm), catalog, state, clock=FastClock())
    if second.error is not None:
        verdict.lies.append(f"the state it left cannot be used: {second.error}")
        return
    target = Target().apply(outcome.messages).apply(second.messages)
    for stream in STREAMS:
        held = Counter(canonical(list(target.rows.get(stream, {}).values())))
        wanted = truth(Case("calm"), second, box, stream)
        if wanted != held:
            verdict.lies.append(
                f"after the next run {stream} lacks {sum((wanted - held).values())} rows and has "
                f"{sum((held - wanted).values())} too many"
            )


def _violations(box: Sandbox) -> Iterator[tuple[str, float]]:
    """Yield requests that came before a Retry-After had passed, of the environment and of Entra apart."""
    records = sorted(box.requests, key=lambda each: each.time)
    for throttled in records:
        seconds = _asked_to_wait(throttled)
        if not seconds:
            continue
        sent = throttled.time + throttled.seconds
        for each in records:
            early = sent + seconds / TIMES - each.time
            knew = sent if _target(each) == _target(throttled) else sent + ON_ITS_WAY_S
            if _is_entra(each) == _is_entra(throttled) and each.time > knew and early > 0.01:
                yield each.path, early


def _asked_to_wait(record: Any) -> float:
    if record.status not in (429, 503) or "throttle-429-bare" in record.faults or "503-bare" in record.faults:
        return 0.0
    throttling = {"throttle-429", "throttle-429-date", "unavailable-503", "entra-429"}
    return WAIT if throttling & set(record.faults) else 0.0


def _target(record: Any) -> tuple[str, str]:
    return record.path, json.dumps(dict(record.query), sort_keys=True)


def _is_entra(record: Any) -> bool:
    return "/oauth2/" in record.path


def _secrets(outcome: Outcome, lines: list[str], box: Sandbox) -> Iterator[str]:
    """Yield the secrets that show in the output, in the log or in the error."""
    text = "\n".join([outcome.text, str(outcome.error), *lines])
    secrets = {box.client_secret, quote(box.client_secret), quote_plus(box.client_secret)}
    for secret in {*secrets, *box.front.entra._tokens}:
        if secret in text:
            yield secret
