"""The diagnosis in environments that have less than others, or answer otherwise: told from bare answers."""

from __future__ import annotations

import json

import pytest
from scripted import (
    SECRET,
    TENANT,
    FixedRandom,
    Received,
    Reply,
    reply_error,
    reply_html,
    reply_json,
    reply_token,
)

from tap_d365fo import remedies
from tap_d365fo.extraction.diagnosis import CHECKS, diagnose

METADATA = b"""<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="Microsoft.Dynamics.DataEntities" xmlns="http://docs.oasis-open.org/odata/ns/edm">
<EntityType Name="Widget"><Key><PropertyRef Name="dataAreaId"/><PropertyRef Name="WidgetId"/></Key>
<Property Name="dataAreaId" Type="Edm.String" Nullable="false"/>
<Property Name="WidgetId" Type="Edm.String" Nullable="false"/></EntityType>
<EntityContainer Name="Resources">
<EntitySet Name="Widgets" EntityType="Microsoft.Dynamics.DataEntities.Widget"/>
</EntityContainer></Schema></edmx:DataServices></edmx:Edmx>"""

OID = "22222222-2222-2222-2222-222222222222"
VERSION = "/data/DataManagementEntities/Microsoft.Dynamics.DataEntities.GetApplicationVersion"


def widgets(request: Received) -> Reply:
    """Rows of company usmf alone, whatever else is asked for."""
    rows = [{"@odata.etag": 'W/"1"', "dataAreaId": "usmf", "WidgetId": "W-1"}]
    wants_other = "dataAreaId%20eq" in request.path and "usmf" not in request.path
    return reply_json({"value": [] if wants_other else rows})


@pytest.fixture
def bare(fno, entra):
    """An environment with one entity set and nothing that a read can do without: every other path is a 404."""
    entra.script(f"/{TENANT}/oauth2/v2.0/token", lambda _: reply_token(aud=fno.url, tid="3" * 8, oid=OID))
    fno.script("/data", reply_json({"value": [{"name": "Widgets", "url": "Widgets"}]}))
    fno.script("/data/$metadata", Reply(200, METADATA, {"Content-Type": "application/xml"}))
    fno.script("/data/Widgets", widgets)
    return fno


@pytest.fixture
def findings(bare, entra, clock):
    def found(**changes):
        given = {
            "environment_url": bare.url,
            "tenant_id": TENANT,
            "client_id": "11111111-2222-3333-4444-555555555555",
            "authority": entra.url,
            "client_secret": SECRET,
            "entities": ["Widgets"],
            **changes,
        }
        settings = {name: value for name, value in given.items() if value is not None}
        return list(diagnose(settings, clock=clock, rng=FixedRandom()))

    return found


def verdicts(found) -> dict[str, str]:
    """Return the worst verdict of each check that is not `ok`."""
    order = ("ok", "not-checked", "warning", "failed")
    worst = {name: max((f.verdict for f in found if f.check == name), key=order.index) for name in CHECKS}
    return {name: verdict for name, verdict in worst.items() if verdict != "ok"}


def the(found, check):
    return next(each for each in found if each.check == check and each.verdict != "ok")


USUAL = {"version": "warning", "companies": "warning", "change-store": "not-checked"}
"""What is missing in the bare environment, and a sync can do without."""


def test_without_versions_companies_names_and_counts_rows_are_found_all_the_same(findings):
    found = findings()

    assert verdicts(found) == USUAL
    assert the(found, "companies").remedy
    (row,) = [each for each in found if each.check == "rows"]
    assert row.message.startswith("Widgets: a row came")
    assert next(each for each in found if each.check == "metadata").message.startswith(
        "1 entity set, read in"
    )
    assert next(each for each in found if each.check == "entities").message == "1 entity selected: 1 by full."


def test_a_configured_company_is_looked_for_in_the_entities_that_are_wanted(bare, findings):
    bare.script(
        "/data/LegalEntities", reply_json({"value": [{"LegalEntityId": each} for each in ("usmf", "dat")]})
    )

    found = findings(companies=["usmf"])

    assert verdicts(found) == {name: USUAL[name] for name in ("version", "change-store")}
    assert "The service user sees 2 companies: usmf, dat" in found[CHECKS.index("companies")].message


def test_a_company_is_not_called_empty_where_too_little_answers_to_say(bare, findings):
    bare.script(
        "/data/LegalEntities", reply_json({"value": [{"LegalEntityId": each} for each in ("usmf", "demf")]})
    )

    found = findings(companies=["demf"])

    assert "companies" not in verdicts(found)


def test_a_list_of_companies_that_fails_on_its_data_is_done_without(bare, findings):
    bare.script("/data/LegalEntities", reply_error(500, "The value of a field cannot be read."))

    assert verdicts(findings()) == USUAL


@pytest.mark.parametrize(
    "answer",
    [
        reply_error(404),
        reply_error(403),
        Reply(401, b""),
        reply_error(400, "No such action."),
        reply_error(500, "No such class."),
        reply_html(200),
        reply_json({"value": ""}),
        reply_json({}),
        reply_error(503),
    ],
    ids=["404", "403", "401", "400", "500", "html", "empty", "none", "503"],
)
def test_a_version_that_is_not_told_is_a_warning_whatever_comes(bare, findings, answer):
    bare.script(VERSION, answer)

    assert verdicts(findings()) == USUAL


@pytest.mark.parametrize(
    "answer",
    [reply_error(404), reply_error(500, "No such class."), reply_html(200), Reply(401, b""), reply_json([])],
    ids=["404", "500", "html", "401", "list"],
)
def test_a_metadata_service_that_does_not_answer_costs_nothing(bare, findings, answer):
    bare.script("/metadata/DataEntities", answer)

    assert verdicts(findings()) == USUAL


@pytest.mark.parametrize(
    "answer",
    [
        reply_error(404),
        reply_error(400, "No."),
        reply_error(500, "No such class."),
        reply_json({"value": {}}),
    ],
    ids=["404", "400", "500", "no list"],
)
def test_a_service_root_that_lists_nothing_is_no_refusal(bare, findings, answer):
    bare.script("/data", answer)

    assert verdicts(findings()) == USUAL


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Reply(401, b"", {"P3P": 'CP="No P3P policy defined."'}), remedies.FNO_APPLICATIONS),
        (Reply(403, b""), remedies.FNO_APPLICATIONS),
        (Reply(302, b"", {"Location": "https://login.example/"}), "sign-in page"),
        (reply_error(503), "Lifecycle Services"),
        (reply_error(429, headers={"Retry-After": "7200"}), remedies.PRIORITIES),
        (reply_html(200), "proxy"),
    ],
    ids=["401", "403", "302", "503", "429", "html"],
)
def test_an_environment_that_lets_nobody_in_fails_at_access(bare, findings, answer, words):
    for path in ("/data", "/data/$metadata", "/data/Widgets"):
        bare.script(path, answer)

    found = findings()

    assert the(found, "access").verdict == "failed"
    assert words in f"{the(found, 'access').message} {the(found, 'access').remedy}"
    assert {each.verdict for each in found[CHECKS.index("access") + 1 :]} == {"not-checked"}


@pytest.mark.parametrize(
    "claims",
    [{"aud": "00000015-0000-0000-c000-000000000000"}, {"oid": None}, {"aud": ["one", "two"]}],
    ids=["audience", "object", "audiences"],
)
def test_a_token_that_looks_unfit_but_is_taken_is_no_more_than_a_warning(bare, entra, findings, claims):
    given = {"aud": bare.url, "oid": OID, **claims}
    entra.script(f"/{TENANT}/oauth2/v2.0/token", lambda _: reply_token(**given))

    found = findings()

    assert verdicts(found) == {"token": "warning", **USUAL}
    assert the(found, "token").remedy


def test_a_token_that_cannot_be_decoded_is_used_all_the_same(bare, entra, findings):
    opaque = reply_json({"token_type": "Bearer", "expires_in": "3599", "access_token": "opaque"})
    entra.script(f"/{TENANT}/oauth2/v2.0/token", opaque)

    assert verdicts(findings()) == {"token": "not-checked", **USUAL}


@pytest.mark.parametrize(
    ("code", "error", "step"),
    [
        (7000215, "invalid_client", "credential"),
        (7000222, "invalid_client", "credential"),
        (700016, "unauthorized_client", "application"),
        (90002, "invalid_request", "tenant"),
        (500011, "invalid_resource", "resource"),
        (700016, "something_new", "application"),
        (90002, "something_new", "tenant"),
        (500011, "something_new", "resource"),
        (7000215, "something_new", "credential"),
    ],
)
def test_a_code_that_stands_in_the_description_alone_is_found(entra, findings, code, error, step):
    document = {
        "error": error,
        "error_description": f"AADSTS{code}: Refused. Trace ID: 4d\r\nTimestamp: 2026",
    }
    entra.script(f"/{TENANT}/oauth2/v2.0/token", reply_json(document, 400))

    found = findings()

    assert the(found, step).verdict == "failed"
    assert the(found, step).evidence["aadsts"] == code
    assert remedies.find("entra", code).step in the(found, step).remedy


def test_each_request_that_is_put_off_is_counted_with_or_without_headers(bare, findings):
    rows = reply_json({"value": []})
    bare.script("/data/Widgets", reply_error(429), reply_error(503, headers={"Retry-After": "2"}), rows)

    found = findings()

    (throttling,) = [each for each in found if each.check == "throttling"]
    assert throttling.verdict == "warning"
    assert throttling.evidence["throttled"] == 2
    assert throttling.evidence["waited_seconds"] >= 2


@pytest.mark.parametrize("value", [[{}], [{"LegalEntityId": None}], [{"LegalEntityId": ""}], []], ids=str)
def test_a_list_of_companies_that_names_none_is_a_warning(bare, findings, value):
    bare.script("/data/LegalEntities", reply_json({"value": value}))

    found = findings()

    assert verdicts(found) == USUAL
    assert remedies.find("companies", "none").cause in the(found, "companies").message


def test_the_default_company_shows_in_the_entities_that_are_wanted(bare, findings):
    bare.script("/data/LegalEntities", reply_json({"value": [{"LegalEntityId": "usmf"}]}))

    found = findings()

    (companies,) = [each for each in found if each.check == "companies"]
    assert companies.evidence["default"] == "usmf"


@pytest.mark.parametrize(
    "body",
    [
        b'{"value":{"Name":"Top Secret Ltd"}}',
        b'{"value":[{"Name":"Top Secret Ltd"',
        b'[{"Name":"Top Secret Ltd"}]',
    ],
    ids=["object", "cut off", "list"],
)
def test_rows_that_came_broken_are_not_repeated(bare, findings, body):
    bare.script("/data/Widgets", Reply(200, body, {"Content-Type": "application/json"}))

    found = findings()

    assert the(found, "rows").verdict == "failed"
    assert the(found, "rows").message.startswith("Widgets: Reading a row of Widgets: The answer is")
    assert "Top Secret" not in json.dumps([each.to_json() for each in found])


# -- the way there ----------------------------------------------------------------------------------------


def test_a_certificate_that_is_not_trusted_is_found_at_the_host(findings, monkeypatch, tmp_path, certificate):
    from scripted import new_certificate, new_key, pem_of

    key = new_key()
    other = tmp_path / "other.pem"
    other.write_bytes(pem_of(key, new_certificate(key, names=("localhost",))))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))

    found = findings()

    assert the(found, "host").verdict == "failed"
    assert "REQUESTS_CA_BUNDLE" in the(found, "host").remedy


def test_a_file_of_certificates_that_is_not_there_is_found_at_the_host(findings, monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "nowhere.pem"))

    found = findings()

    assert the(found, "host").verdict == "failed"
    assert remedies.find("no-answer", "ca-file").step in the(found, "host").remedy


def test_a_proxy_that_lets_nothing_through_is_found_at_the_host(findings, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")

    found = findings()

    assert the(found, "host").verdict == "failed"
    assert "HTTPS_PROXY" in the(found, "host").remedy


def test_every_failure_has_a_next_step_and_no_secret(bare, findings):
    for answer in (
        Reply(200, b"<x/>", {"Content-Type": "application/xml"}),
        reply_html(200),
        reply_error(400),
    ):
        bare.script("/data/$metadata", answer)

        found = findings()

        assert the(found, "metadata").verdict == "failed"
        assert the(found, "metadata").remedy
        assert SECRET not in json.dumps([each.to_json() for each in found])
