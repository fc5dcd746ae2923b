"""Each state of the set-up is found at its step, with what to do next; nothing is checked behind it."""

from __future__ import annotations

import json
import random
from datetime import datetime, timezone

import pytest

from tap_d365fo import remedies
from tap_d365fo.extraction.diagnosis import CHECKS, diagnose
from tap_d365fo.extraction.environment import Environment

ENTITIES = ["CustomersV3", "MainAccounts"]


class PatientClock:
    """Waits take no time here."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return datetime.now(timezone.utc)

    def wait(self, condition, seconds) -> None:
        if seconds is None:
            condition.wait()
        else:
            self.seconds += seconds

    def timeout(self, seconds: float) -> float:
        return seconds


def findings(sandbox, **changes):
    settings = {**sandbox.config(entities=ENTITIES), **changes}
    return list(diagnose(settings, clock=PatientClock(), rng=random.Random(0)))


def test_all_is_well_and_every_check_says_so_in_the_order_of_the_way(sandbox, tmp_path):
    found = findings(sandbox, change_store=str(tmp_path / "store"))

    assert [each.verdict for each in found] == ["ok"] * len(found)
    assert list(dict.fromkeys(each.check for each in found)) == list(CHECKS)
    assert not list((tmp_path / "store").iterdir())


def test_evidence_holds_what_a_machine_wants_to_know(sandbox):
    evidence = {each.check: each.evidence for each in findings(sandbox)}

    assert evidence["version"]["version"].startswith("10.0.")
    assert evidence["companies"]["visible"] == ["dat", "demf", "gbsi", "usmf", "ussi"]
    assert evidence["companies"]["default"] == "dat"
    assert evidence["metadata"]["offered"] == len(sandbox.dataset.names)
    assert evidence["token"]["tid"] == sandbox.tenant_id
    assert evidence["rows"] | {"seconds": 0} == {
        "entity": "MainAccounts",
        "rows": 1,
        "columns": 26,
        "method": "full",
        "seconds": 0,
    }


def test_a_check_reads_one_row_of_each_selected_entity_and_writes_nothing(sandbox):
    findings(sandbox)

    reads = [each for each in sandbox.requests if any(each.path.endswith(f"/{name}") for name in ENTITIES)]
    assert [each.query["$top"] if isinstance(each.query, dict) else "$top=1" in each.query for each in reads]
    assert {each.method for each in sandbox.requests if "GetApplicationVersion" not in each.path} <= {
        "GET",
        "POST",
    }
    assert len(sandbox.requests) < 40


SETTINGS = {
    "missing": ({"client_secret": None}, "settings", "No credential is given"),
    "several": ({"page_size": 0, "tenant_id": "common"}, "settings", "page_size"),
    "http": ({"environment_url": "http://contoso.operations.dynamics.com"}, "settings", "https://"),
    "port": ({"environment_url": "https://localhost:1"}, "host", "refused"),
    "name": ({"environment_url": "https://nowhere.invalid"}, "host", "host name was not found"),
    "authority": ({"authority": "https://localhost:1"}, "entra", "no answer"),
    "tenant": ({"tenant_id": "nobody.onmicrosoft.com"}, "tenant", "tenant"),
    "application": ({"client_id": "00000000-0000-0000-0000-000000000000"}, "application", "AADSTS700016"),
    "secret": ({"client_secret": "wrong-secret"}, "credential", "AADSTS7000215"),
    "secret id": (
        {"client_secret": "12345678-1234-1234-1234-123456789012"},
        "credential",
        "the secret's ID",
    ),
    "companies": ({"companies": ["usmf", "nosuch"]}, "companies", "nosuch"),
    "entities": ({"entities": ["CustomerV33"]}, "entities", "CustomersV3"),
    "filter": ({"entity_options": {"MainAccounts": {"filter": "Nosuch eq 'x'"}}}, "rows", "MainAccounts"),
    "store": ({"change_store": "/dev/null/store"}, "change-store", "folder"),
    "store url": ({"change_store": "nosuch://bucket/store"}, "change-store", "nosuch"),
}


@pytest.mark.parametrize(("changes", "check", "words"), SETTINGS.values(), ids=SETTINGS)
def test_what_settings_get_wrong_is_found_at_its_step(sandbox, changes, check, words):
    found = findings(sandbox, **changes)

    assert_failed_at(found, check, words)


@pytest.mark.parametrize(
    ("code", "check"),
    [
        (7000222, "credential"),
        (7000218, "credential"),
        (700027, "credential"),
        (700016, "application"),
        (7000112, "application"),
        (53003, "application"),
        (90002, "tenant"),
        (90038, "tenant"),
        (500011, "resource"),
        (50001, "resource"),
        (650052, "resource"),
        (70011, "resource"),
    ],
)
def test_each_refusal_of_entra_is_found_at_the_step_that_it_is_about(sandbox, code, check):
    sandbox.switches["entra.error"] = str(code)

    found = findings(sandbox)

    assert_failed_at(found, check, remedies.find("entra", code).step)
    assert failed(found).evidence["aadsts"] == code


SWITCHES = {
    "unregistered": ({"setup": "unregistered"}, "access", remedies.FNO_APPLICATIONS),
    "unregistered 403": (
        {"setup": "unregistered", "auth.unregistered": "403 json"},
        "access",
        remedies.FNO_APPLICATIONS,
    ),
    "user disabled": ({"setup": "user-disabled"}, "access", "is the user of that row enabled"),
    "wrong tenant": ({"setup": "wrong-tenant"}, "token", "another tenant"),
    "no object": ({"setup": "missing-oid"}, "token", "no oid"),
    "wrong audience": ({"setup": "wrong-audience"}, "token", "another address"),
    "denied": ({"auth.denied": "MainAccounts"}, "rows", "a role with a privilege"),
    "denied 401": ({"auth.denied": "MainAccounts", "auth.denied_entity": "401"}, "rows", "a role with"),
}


@pytest.mark.parametrize(("switches", "check", "words"), SWITCHES.values(), ids=SWITCHES)
def test_what_was_left_out_in_two_portals_is_found_at_its_step(sandbox, switches, check, words):
    sandbox.switches.update(switches)

    assert_failed_at(findings(sandbox), check, words)


def test_a_company_that_is_configured_but_gives_no_rows_is_an_error_by_name(sandbox):
    sandbox.switches["companies.dropped"] = "usmf"

    assert_failed_at(findings(sandbox, companies=["USMF"]), "companies", "usmf")


def test_a_company_that_gives_no_rows_is_a_warning_where_none_is_configured(sandbox):
    sandbox.switches["companies.dropped"] = "usmf"

    found = findings(sandbox)

    (warning,) = [each for each in found if each.verdict == "warning"]
    assert warning.check == "companies"
    assert warning.evidence == {"without_rows": ["usmf"]}
    assert remedies.ORGANIZATIONS in warning.remedy
    assert not any(each.verdict == "failed" for each in found)


@pytest.mark.parametrize(
    ("denied", "check", "cause"),
    [
        ("LegalEntities", "companies", ("companies", "unlisted")),
    ],
)
def test_what_a_sync_can_do_without_is_a_warning(sandbox, denied, check, cause):
    sandbox.switches["auth.denied"] = denied

    found = findings(sandbox)

    (warning,) = [each for each in found if each.verdict == "warning"]
    assert warning.check == check
    assert remedies.find(*cause).step in warning.remedy
    assert not any(each.verdict == "failed" for each in found)


def test_a_version_that_is_not_told_is_a_warning(sandbox):
    sandbox.faults.add("denied-entity", path="GetApplicationVersion")

    found = findings(sandbox)

    (warning,) = [each for each in found if each.verdict == "warning"]
    assert warning.check == "version"
    assert not any(each.verdict == "failed" for each in found)


def test_no_legal_entity_at_all_is_a_warning(sandbox, monkeypatch):
    monkeypatch.setattr(Environment, "companies", lambda _self: ())

    (warning,) = [each for each in findings(sandbox) if each.verdict == "warning"]

    assert warning.message == remedies.find("companies", "none").cause


def test_nothing_selected_is_a_warning_and_no_row_is_read(sandbox):
    found = findings(sandbox, entities=[])

    verdicts = {each.check: each.verdict for each in found}
    assert verdicts["entities"] == "warning"
    assert verdicts["rows"] == "not-checked"


def test_an_oddity_in_the_settings_is_a_warning(sandbox):
    (warning,) = [each for each in findings(sandbox, client_secrett="x") if each.verdict == "warning"]

    assert warning.check == "settings"
    assert "did you mean client_secret" in warning.message


def test_what_was_kept_of_a_pasted_address_is_shown(sandbox):
    found = findings(sandbox, environment_url=f"{sandbox.url}/?cmp=USMF&mi=DefaultDashboard")

    assert f"kept {sandbox.url}" in found[0].message


def test_throttling_is_a_warning_that_says_how_long_was_waited(sandbox):
    sandbox.faults.add("throttle-429", path="/data/MainAccounts", count=1, retry_after=7)

    (warning,) = [each for each in findings(sandbox) if each.verdict == "warning"]

    assert warning.check == "throttling"
    assert warning.evidence["throttled"] == 1
    assert warning.evidence["waited_seconds"] == pytest.approx(7, abs=0.1)
    assert remedies.PRIORITIES in warning.remedy


def test_a_row_that_cannot_be_read_fails_without_saying_what_is_in_it(sandbox):
    row = sandbox.truth("CustomersV3")[0]
    key = f"{row['dataAreaId']}|{row['CustomerAccount']}"
    sandbox.faults.add("error-500-poisoned-row", path="/data/CustomersV3", key=key)
    sandbox.switches["order.default"] = "key"

    found = findings(sandbox)

    assert_failed_at(found, "rows", "CustomersV3")
    quoted = json.dumps([each.to_json() for each in found])
    assert row["CustomerAccount"] not in quoted


def test_one_entity_that_fails_does_not_hide_another_that_can_be_read(sandbox):
    sandbox.switches["auth.denied"] = "CustomersV3"

    rows = [each for each in findings(sandbox) if each.check == "rows"]

    assert [each.verdict for each in rows] == ["failed", "ok"]


def test_the_values_of_a_filter_stay_out_of_what_is_said(sandbox):
    options = {"MainAccounts": {"filter": "Nosuch eq 'Top Secret Ltd' and Other gt 987654"}}

    text = json.dumps([each.to_json() for each in findings(sandbox, entity_options=options)])

    assert "Top Secret" not in text
    assert "987654" not in text
    assert "Nosuch" in text


@pytest.mark.parametrize("changes", [{}, {"client_secret": "wrong-secret-value"}], ids=["right", "wrong"])
def test_no_secret_is_in_any_finding(sandbox, changes):
    secret = changes.get("client_secret", sandbox.client_secret)

    text = json.dumps([each.to_json() for each in findings(sandbox, **changes)])

    assert secret not in text
    assert json.dumps(secret)[1:-1] not in text
    assert "eyJ" not in text


def test_settings_that_cannot_be_read_are_a_finding_too(sandbox):
    def broken():
        return {"environment_url": 7}

    found = list(diagnose(broken))

    assert found[0].verdict == "failed"
    assert {each.verdict for each in found[1:]} == {"not-checked"}


def failed(found):
    (only,) = [each for each in found if each.verdict == "failed"]
    return only


def assert_failed_at(found, check, words):
    """One finding failed, at its step; all before it went well; nothing behind it was checked, and says why."""
    trouble = failed(found)
    assert trouble.check == check
    assert words in f"{trouble.message} {trouble.remedy}"
    assert trouble.remedy
    place = CHECKS.index(check)
    assert all(each.verdict in ("ok", "failed") for each in found if CHECKS.index(each.check) <= place)
    later = [each for each in found if CHECKS.index(each.check) > place]
    assert [each.check for each in later] == list(CHECKS[place + 1 :])
    assert {(each.verdict, each.message) for each in later} <= {
        ("not-checked", f"Not checked, because {check} failed.")
    }
