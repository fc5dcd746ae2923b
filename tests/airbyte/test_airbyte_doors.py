"""Both doors on the same data and under the same faults: equal records, states of equal meaning, equal words."""

from __future__ import annotations

import json
import re
from typing import Any

import door as airbyte
import pytest
import singer
from door import Door, configured
from test_reading import canonical

from tap_d365fo.errors import IncompleteReadError

pytestmark = pytest.mark.usefixtures("hasty")

STAMPED, PLAIN, SMALL = "CustTransBiEntities", "CustomersV3", "ExchangeRates"
ENTITIES = [STAMPED, PLAIN, SMALL]

WEATHER = [
    "throttle-429:share=0.2",
    "throttle-429-date:share=0.2",
    "unavailable-503:share=0.2",
    "503-bare:share=0.2",
    "gateway-502-html:share=0.2",
    "error-500-transient:share=0.2",
    "unauthorized-401:nth=4",
    "truncated-body:share=0.2",
    "broken-json:share=0.2",
    "html-200:share=0.1",
    "empty-page-with-link:share=0.2",
    "short-page-with-link:share=0.2",
    "connection-reset:share=0.2",
    "query-too-long:nth=2",
    "missing-property",
    "entra-500:nth=1",
    "entra-429:nth=1",
]

STORMS = [
    "denied-entity:path=/data/CustomersV3",
    "permanent-400:path=/data/CustomersV3",
    "permanent-400:path=/data/CustTransBiEntities,nth=3|4|5|6|7|8|9|10|11|12|13|14|15|16",
    "error-500-poisoned-row",
    "html-200:path=/data/ExchangeRates",
    "503-bare:path=/data/CustTransBiEntities",
    "repeating-link:path=/data/ExchangeRates",
    "redirect-302:path=/data/CustomersV3",
]


class Doors:
    """One question put to both doors."""

    def __init__(self, sandbox, door: Door, config: dict[str, Any]) -> None:
        self.sandbox, self.door, self.config = sandbox, door, config
        self.catalog = configured(door.discover(config).catalog)

    def ask(
        self, fault: str | None = None, *, states: tuple[Any, Any] = (None, None), **settings: Any
    ) -> tuple[singer.Outcome, airbyte.Outcome]:
        self._strike(fault)
        spoken = singer.sync({**self.config, **settings}, state=states[0])
        self._strike(fault)
        heard = self.door.read({**self.config, **settings}, self.catalog, states[1])
        self.sandbox.faults.clear()
        return spoken, heard

    def _strike(self, fault: str | None) -> None:
        self.sandbox.faults.clear()
        if fault:
            self.sandbox.faults.add(fault)


@pytest.fixture
def doors(sandbox, door):
    return Doors(sandbox, door, sandbox.config(entities=ENTITIES, page_size=40, retry_budget_seconds=60))


def same_records(spoken: singer.Outcome, heard: airbyte.Outcome, streams: list[str] = ENTITIES) -> None:
    for stream in streams:
        ours = [_as_singer(each) for each in heard.records(stream)]
        assert canonical(ours) == canonical(spoken.records(stream)), stream


def _as_singer(record: dict[str, Any]) -> dict[str, Any]:
    """Return a record of a swept stream as the Singer door writes it."""
    renamed = {name: value for name, value in record.items() if not name.startswith("_ab_cdc_")}
    if "_ab_cdc_deleted_at" in record:
        assert record["_ab_cdc_cursor"] > 0
        renamed["_sdc_deleted_at"] = bool(record["_ab_cdc_deleted_at"])
    return renamed


def same_states(spoken: singer.Outcome, heard: airbyte.Outcome) -> None:
    """States mean the same: all but the moment at which a read began is equal."""
    ours = {
        each["stream"]["stream_descriptor"]["name"]: each["stream"]["stream_state"] for each in heard.states
    }
    theirs = {stream: spoken.state["bookmarks"].get(stream, {}) for stream in ours}
    assert _timeless(ours) == _timeless(theirs)


def _timeless(state: Any) -> str:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {
                n: without(v)
                for n, v in value.items()
                if n not in ("started", "upper", "generation", "version")
            }
        return [without(each) for each in value] if isinstance(value, list) else value

    return json.dumps(without(state), sort_keys=True, default=str)


def same_failures(spoken: singer.Outcome, heard: airbyte.Outcome) -> None:
    causes = spoken.error.causes if isinstance(spoken.error, IncompleteReadError) else {}
    expected = {
        name: (_without_part(f"{each.message} {each.remedy or ''}".strip()), f"{each.fault}_error")
        for name, each in causes.items()
    }
    told = {
        each["stream_descriptor"]["name"]: (_without_part(each["message"]), each["failure_type"])
        for each in heard.errors
    }
    assert told == expected
    assert heard.code == (1 if causes else 0)


def _without_part(message: str) -> str:
    """Leave out which of the parts that are read side by side met the fault."""
    return re.sub(r"\$filter=[^$]*", "$filter=...&", message)


def test_in_calm_weather_all_is_equal(doors):
    spoken, heard = doors.ask()

    assert spoken.error is None
    assert heard.code == 0
    same_records(spoken, heard)
    same_states(spoken, heard)


@pytest.mark.parametrize(
    "settings", [{"companies": ["USMF"]}, {"null_dates": False}, {"decimals": "string"}], ids=str
)
def test_settings_mean_the_same(doors, settings):
    spoken, heard = doors.ask(**settings)

    assert spoken.error is None
    same_records(spoken, heard)
    same_states(spoken, heard)


def test_the_second_run_brings_the_same_changes(doors, sandbox):
    first = doors.ask()
    row = sandbox.truth(STAMPED)[0]
    sandbox.dataset.update(STAMPED, (row["dataAreaId"], row["SourceKey"]), {"Txt": "changed"})

    spoken, heard = doors.ask(states=(first[0].state, first[1].states))

    assert len(spoken.records(STAMPED)) < len(first[0].records(STAMPED))
    same_records(spoken, heard)
    same_states(spoken, heard)


def test_sweeps_bring_the_same_changes_and_deletes(sandbox, door, tmp_path):
    config = sandbox.config(entities=[PLAIN])
    stores = [{"change_store": str(tmp_path / name)} for name in ("spoken", "heard")]
    catalog = configured(door.discover({**config, **stores[1]}).catalog)
    first = (singer.sync({**config, **stores[0]}), door.read({**config, **stores[1]}, catalog))
    rows = sandbox.truth(PLAIN)
    changed, gone = ((each["dataAreaId"], each["CustomerAccount"]) for each in (rows[3], rows[10]))
    sandbox.dataset.update(PLAIN, changed, {"CredManNotes": "swept"})
    sandbox.dataset.delete(PLAIN, gone)

    spoken = singer.sync({**config, **stores[0]}, state=first[0].state)
    heard = door.read({**config, **stores[1]}, catalog, first[1].states)

    assert len(heard.records(PLAIN)) == 2
    for theirs, ours in (first, (spoken, heard)):
        records = [
            {**each, "_sdc_deleted_at": bool(each["_sdc_deleted_at"])} for each in theirs.records(PLAIN)
        ]
        assert canonical([_as_singer(each) for each in ours.records(PLAIN)]) == canonical(records)
        same_states(theirs, ours)
    (deleted,) = [each for each in heard.records(PLAIN) if each["_ab_cdc_deleted_at"]]
    assert set(deleted) == {"dataAreaId", "CustomerAccount", "_ab_cdc_deleted_at", "_ab_cdc_cursor"}
    assert (deleted["dataAreaId"], deleted["CustomerAccount"]) == gone


@pytest.mark.parametrize("fault", WEATHER)
def test_weather_passes_in_front_of_both(doors, fault):
    spoken, heard = doors.ask(fault)

    assert spoken.error is None
    assert heard.code == 0
    same_records(spoken, heard)
    same_states(spoken, heard)


@pytest.mark.parametrize("fault", STORMS)
def test_what_fails_fails_in_the_same_words(doors, fault):
    spoken, heard = doors.ask(fault)

    same_failures(spoken, heard)
    failed = {each["stream_descriptor"]["name"] for each in heard.errors}
    same_records(spoken, heard, [each for each in ENTITIES if each not in failed])


@pytest.mark.parametrize(
    "settings",
    [
        {"client_secret": "wrong"},
        {"client_id": "00000000-0000-0000-0000-000000000000"},
        {"tenant_id": "nobody.onmicrosoft.com"},
        {"companies": ["nosuch"], "entities": [PLAIN]},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_what_settings_get_wrong_is_told_in_the_same_words(doors, settings):
    spoken, heard = doors.ask(**settings)

    error = next(iter(getattr(spoken.error, "causes", {}).values()), spoken.error)
    told = heard.errors[0]
    assert told["message"] == f"{error.message} {error.remedy or ''}".strip()
    assert told["failure_type"] == "config_error"
    assert heard.code == 1
