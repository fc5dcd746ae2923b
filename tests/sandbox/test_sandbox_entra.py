"""Sign-in: tokens, and every way to be refused."""

from __future__ import annotations

import base64
import json

import pytest

from tap_d365fo.sandbox.entra import ENTRA_ERRORS, read_jwt, write_jwt


def test_discovery_names_the_token_endpoint(calm):
    found = calm.get(f"/{calm.box.tenant_id}/v2.0/.well-known/openid-configuration").json()

    assert found["token_endpoint"] == f"{calm.box.url}/{calm.box.tenant_id}/oauth2/v2.0/token"
    assert found["issuer"].startswith(calm.box.url)
    assert "authorization_endpoint" in found


def test_a_token_says_whom_it_is_for(calm):
    answer = calm.token().json()

    claims = read_jwt(answer["access_token"])
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 3599)
    assert claims["aud"] == calm.box.url
    assert claims["tid"] == calm.box.tenant_id
    assert claims["appid"] == calm.box.client_id
    assert claims["exp"] - claims["iat"] == 3599
    assert len(answer["access_token"]) > 1400


REFUSALS = {
    "wrong secret": ({"client_secret": "no"}, 401, 7000215),
    "no secret": ({"client_secret": ""}, 401, 7000218),
    "unknown application": ({"client_id": "11111111-2222-4333-8444-555555555555"}, 400, 700016),
    "no such scope": ({"scope": "openid"}, 400, 70011),
    "another resource": ({"scope": "https://elsewhere.example/.default"}, 400, 500011),
    "unknown tenant": ({"tenant": "11111111-2222-4333-8444-555555555555"}, 400, 90002),
    "no tenant": ({"tenant": "nonsense"}, 400, 900023),
    "common": ({"tenant": "common"}, 400, 9001023),
    "bad assertion": ({"client_secret": "", "client_assertion": "x.y.z"}, 401, 700027),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_is_wrong_is_said_by_its_code(calm, case):
    form, status, code = REFUSALS[case]

    answer = calm.token(**form)

    body = answer.json()
    assert (answer.status_code, body["error_codes"]) == (status, [code])
    assert body["error"] == ENTRA_ERRORS[code].error
    assert body["error_description"].startswith(f"AADSTS{code}: ")
    assert {"timestamp", "trace_id", "correlation_id", "error_uri"} <= set(body)


@pytest.mark.parametrize("code", ENTRA_ERRORS)
def test_every_code_can_be_forced(caller, code):
    caller.box.switches["entra.error"] = str(code)

    answer = caller.token()

    assert (answer.status_code, answer.json()["error_codes"]) == (ENTRA_ERRORS[code].status, [code])


def test_an_unknown_tenant_is_refused_at_discovery_too(calm):
    answer = calm.get("/11111111-2222-4333-8444-555555555555/v2.0/.well-known/openid-configuration")

    assert (answer.status_code, answer.json()["error_codes"]) == (400, [90002])


def test_an_assertion_is_a_credential(calm):
    text = write_jwt({"iss": calm.box.client_id, "sub": calm.box.client_id, "x5t": "thumb"})
    form = {
        "client_secret": "",
        "client_assertion": text,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    }

    assert calm.token(**form).status_code == 200
    assert calm.box.token_requests[-1].credential == "assertion"
    assert calm.box.token_requests[-1].assertion["sub"] == calm.box.client_id


def test_a_token_for_a_url_with_a_slash_or_capitals_is_refused_by_the_environment(caller):
    for scope in (
        f"{caller.box.url}//.default",
        f"{caller.box.url.replace('localhost', 'LOCALHOST')}/.default",
    ):
        token = caller.token(scope=scope).json()["access_token"]
        answer = caller.get("/data/CustomerGroups", Authorization=f"Bearer {token}")
        assert (answer.status_code, answer.content) == (401, b"")


def test_without_a_token_one_is_sent_to_sign_in(calm):
    answer = calm.get("/data/CustomerGroups", Authorization=None)

    assert answer.status_code == 302
    assert "/oauth2/authorize" in answer.headers["Location"]


def test_a_refused_token_gets_an_empty_401_with_p3p(calm):
    forged = base64.urlsafe_b64encode(json.dumps({"alg": "none"}).encode()).decode() + ".e30."

    answer = calm.get("/data/CustomerGroups", Authorization=f"Bearer {forged}")

    assert (answer.status_code, answer.content) == (401, b"")
    assert answer.headers["P3P"].startswith('CP="No P3P policy defined.')
    assert calm.box.requests[-1].authorization == "?"


def test_tokens_can_be_revoked_and_expire(caller):
    assert caller.get("/data/CustomerGroups").status_code == 200
    caller.box.revoke_tokens()
    assert caller.get("/data/CustomerGroups").status_code == 401
    caller.box.switches["entra.expires_in"] = 0
    assert caller.sign_in().get("/data/CustomerGroups").status_code == 401


@pytest.mark.parametrize(
    "setup", ["user-disabled", "wrong-tenant", "missing-oid", "wrong-audience", "unregistered"]
)
def test_a_step_of_the_set_up_left_out_is_an_empty_401(caller, setup):
    caller.box.switches["setup"] = setup

    answer = caller.sign_in().get("/data/CustomerGroups")

    assert (answer.status_code, answer.content) == (401, b"")


@pytest.mark.parametrize(("form", "status"), [("401 empty", 401), ("403 empty", 403), ("403 json", 403)])
def test_an_unregistered_application_may_be_refused_in_three_ways(caller, form, status):
    caller.box.switches.update({"setup": "unregistered", "auth.unregistered": form})

    answer = caller.get("/data/CustomerGroups")

    assert answer.status_code == status
    assert bool(answer.content) is (form == "403 json")


@pytest.mark.parametrize(("form", "status"), [("403 envelope", 403), ("403 empty", 403), ("401", 401)])
def test_an_entity_can_be_denied_while_others_are_not(caller, form, status):
    caller.box.switches.update({"auth.denied": "VendorsV2", "auth.denied_entity": form})

    assert caller.get("/data/VendorsV2").status_code == status
    assert caller.get("/data/CustomerGroups").status_code == 200
