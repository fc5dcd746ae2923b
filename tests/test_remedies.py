"""Every cause has a remedy that says what to do; the most telling one is found."""

from __future__ import annotations

import re
import socket
import ssl
import subprocess
import sys

import pytest
import requests
import urllib3

from tap_d365fo import remedies
from tap_d365fo.remedies import ENTRA_ADMIN, FALLBACKS, FNO_ADMIN, REMEDIES, YOU, Remedy, find

ENVIRONMENT = "https://contoso.operations.dynamics.com"
TENANT = "33333333-3333-3333-3333-333333333333"
FITTING = {"aud": ENVIRONMENT, "tid": TENANT, "oid": "22222222"}

LISTED = """
7000215 7000222 7000218 700016 700011 7000112 70001 90002 90023 900023 9001023 90038 900382 900432 500011 50001
650057 650052 65001 70011 28002 700022 700027 700030 53003 50034 50126 90033 90006 90012 90024 90055 50000
"""
"""AADSTS codes of the fact sheet, section 2.2."""


@pytest.mark.parametrize("key", REMEDIES, ids=str)
def test_each_row_says_cause_and_step_in_sentences_and_who_can_take_it(key):
    remedy = REMEDIES[key]

    assert re.fullmatch(r"\S.*[.?]", remedy.cause)
    assert re.fullmatch(r"\S.*[.?]", remedy.step)
    assert remedy.who in (YOU, ENTRA_ADMIN, FNO_ADMIN)
    assert remedy.link == "" or remedy.link.startswith("https://learn.microsoft.com/")
    assert str(remedy).startswith(f"{remedy.cause} {remedy.step}")


@pytest.mark.parametrize("code", [int(code) for code in LISTED.split()])
def test_each_listed_code_of_entra_has_a_row_of_its_own(code):
    assert ("entra", code) in REMEDIES


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (7000215, "Value (not its Secret ID)"),
        (7000222, "expired"),
        (7000218, "client_secret, client_certificate or federated_token_file"),
        (700016, "client_id and tenant_id"),
        (7000112, "Enterprise applications"),
        (90002, "tenant_id"),
        (90038, "authority"),
        (500011, "Microsoft Dynamics ERP"),
        (50001, "Microsoft Dynamics ERP"),
        (650052, "tenant_id"),
        (70011, "environment_url"),
        (700027, "certificate"),
        (53003, "Conditional Access"),
        (90024, "later"),
    ],
)
def test_a_code_points_at_the_setting_or_the_page_to_change(code, said):
    assert said in str(remedies.for_entra(code, "whatever"))


def test_the_id_of_a_secret_in_its_place_is_said_only_for_the_code_that_fits():
    as_id = remedies.for_entra(7000215, "invalid_client", secret_looks_like_id=True)

    assert as_id.cause == "client_secret looks like the secret's ID, not its Value."
    assert remedies.for_entra(7000222, "invalid_client", secret_looks_like_id=True) == find("entra", 7000222)
    assert remedies.for_entra(7000215, "invalid_client") == find("entra", 7000215)


@pytest.mark.parametrize(
    "error",
    [
        "invalid_client",
        "unauthorized_client",
        "invalid_request",
        "invalid_resource",
        "invalid_grant",
        "invalid_scope",
        "access_denied",
        "temporarily_unavailable",
        "server_error",
    ],
)
def test_an_unknown_code_falls_back_on_the_error_and_an_unknown_error_on_a_general_word(error):
    assert remedies.for_entra(1, error) == REMEDIES["entra-error", error]
    assert remedies.for_entra(1, "novel") == REMEDIES["entra-error", ""]


def test_every_place_has_a_row_for_codes_that_are_not_listed():
    assert set(FALLBACKS) == {where for where, _ in REMEDIES}
    for where in FALLBACKS:
        assert isinstance(find(where, "no such code"), Remedy)
    assert find("answer", "no such code", "slow") == REMEDIES["answer", "slow"]


def test_who_can_do_it_is_said_where_it_is_somebody_else():
    assert str(Remedy("It rains.", "Wait.")) == "It rains. Wait."
    assert str(Remedy("It rains.", "Wait.", FNO_ADMIN)).endswith(
        "Who can do this: your F&O system administrator."
    )


# -- why F&O refuses a token ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "claims", "granted", "cause"),
    [
        (401, FITTING, False, "unregistered"),
        (401, {**FITTING, "aud": f"{ENVIRONMENT}/"}, False, "unregistered"),
        (401, {**FITTING, "aud": "https://other.operations.dynamics.com"}, False, "audience"),
        (401, {**FITTING, "tid": "44444444-4444-4444-4444-444444444444"}, False, "tenant"),
        (401, {"aud": ENVIRONMENT, "tid": TENANT}, False, "object"),
        (401, {}, False, "unregistered"),
        (401, FITTING, True, "privilege"),
        (401, {}, True, "privilege"),
        (403, {"aud": ENVIRONMENT}, False, "privilege"),
        (403, FITTING, False, "privilege"),
        (403, {}, False, "privilege"),
        (302, FITTING, True, "redirect"),
    ],
)
def test_claims_and_status_tell_why_a_token_is_refused(status, claims, granted, cause):
    found = remedies.cause_of_refusal(
        status, claims, environment_url=ENVIRONMENT, tenant_id=TENANT, others_granted=granted
    )

    assert found == cause
    assert ("refusal", cause) in REMEDIES


def test_a_tenant_given_as_a_domain_cannot_be_compared_and_is_not():
    found = remedies.cause_of_refusal(401, FITTING, environment_url=ENVIRONMENT, tenant_id="contoso.com")

    assert found == "unregistered"


def test_the_empty_401_says_in_order_what_to_look_at():
    told = remedies.for_refusal("unregistered")

    places = [
        "(1) is this client id in System administration > Setup > Microsoft Entra ID applications",
        "(2) is the user",
        "(3) is environment_url",
    ]
    assert [told.index(place) for place in places] == sorted(told.index(place) for place in places)


def test_a_missing_privilege_also_says_what_to_look_at_when_everything_is_refused():
    assert "If every entity is refused: In order: (1)" in remedies.for_refusal("privilege")


# -- why no answer came -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("exc", "root", "kind"),
    [
        (requests.exceptions.ProxyError("x"), OSError("Tunnel connection failed: 407"), "proxy"),
        (OSError("Could not find a suitable TLS CA certificate bundle, invalid path: /x"), None, "ca-file"),
        (
            requests.exceptions.SSLError("x"),
            ssl.SSLCertVerificationError("certificate verify failed: self-signed certificate"),
            "untrusted",
        ),
        (requests.exceptions.SSLError("x"), ssl.SSLEOFError("EOF occurred in violation of protocol"), "tls"),
        (requests.ConnectionError("x"), socket.gaierror(-2, "Name or service not known"), "name"),
        (requests.ConnectTimeout("x"), None, "time-out"),
        (requests.ReadTimeout("x"), TimeoutError("The read operation timed out"), "time-out"),
        (requests.ConnectionError("x"), ConnectionRefusedError(111, "Connection refused"), "refused"),
        (requests.ConnectionError("x"), ConnectionResetError(104, "Connection reset by peer"), "cut"),
        (urllib3.exceptions.ProtocolError("x"), urllib3.exceptions.IncompleteRead(1, 2), "cut"),
    ],
)
def test_the_error_of_a_library_tells_why_no_answer_came(exc, root, kind):
    assert remedies.kind_of_no_answer(exc, root or exc) == kind
    assert ("no-answer", kind) in REMEDIES


def test_the_root_of_an_error_is_found_through_causes_contexts_and_reasons():
    root = ConnectionResetError("reset")
    middle = urllib3.exceptions.MaxRetryError(None, "/", reason=root)
    outer = requests.ConnectionError(middle)
    outer.__cause__ = middle
    ring = ValueError("ring")
    ring.__context__ = OSError("ring")
    ring.__context__.__context__ = ring

    assert remedies.root_of(outer) is root
    assert remedies.root_of(ring) is ring.__context__


def test_the_table_imports_nothing_of_ours():
    code = "import sys, tap_d365fo.remedies; print([m for m in sys.modules if m.startswith('tap_d365fo.')])"

    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert printed.strip() == "['tap_d365fo.remedies']"
