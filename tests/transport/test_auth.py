"""Signing in: real MSAL and real requests against a scripted Entra."""

from __future__ import annotations

import logging
import threading
import traceback
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted import (
    OPENID_PATH,
    SECRET,
    TENANT,
    TOKEN_PATH,
    Reply,
    new_certificate,
    new_key,
    pem_of,
    reply_entra_error,
    reply_error,
    reply_html,
    reply_json,
    reply_token,
    token_text,
)

from tap_d365fo import remedies
from tap_d365fo.errors import AuthenticationError, D365FOError, Interrupted, TransportError
from tap_d365fo.transport.auth import BearerToken, EntraAuthenticator
from tap_d365fo.transport.pace import Pace


def refused(authenticator: EntraAuthenticator) -> AuthenticationError:
    with pytest.raises(AuthenticationError) as caught:
        authenticator.token()
    return caught.value


# -- asking -----------------------------------------------------------------------------------------------


def test_a_token_is_asked_for_with_the_scope_of_the_environment(authenticator, entra, fno):
    token = authenticator().token()

    assert token == token_text(1)
    asked = entra.to(TOKEN_PATH)[0].form
    assert asked["grant_type"] == "client_credentials"
    assert asked["scope"] == f"{fno.url}/.default"
    assert asked["client_id"] == "11111111-2222-3333-4444-555555555555"
    assert asked["client_secret"] == SECRET


def test_nothing_is_asked_before_a_token_is_wanted(authenticator, entra):
    made = authenticator()

    assert entra.received == []
    assert made.claims() == {}
    assert not made.holds("")


def test_nobody_is_asked_whether_the_authority_is_a_real_one(authenticator, entra):
    authenticator().token()

    assert [each.path for each in entra.received] == [OPENID_PATH, TOKEN_PATH]


def test_the_claims_are_read_without_verifying(authenticator, entra):
    entra.entra(reply_token(1, aud="https://x", oid="o", tid="t"))
    made = authenticator()
    made.token()

    assert made.claims() == {"n": 1, "aud": "https://x", "oid": "o", "tid": "t"}


@pytest.mark.parametrize("text", ["opaque", "a.b.c", "a.W10.c", "a.é.c", ""])
def test_a_token_without_readable_claims_has_none(authenticator, entra, text):
    entra.entra(reply_json({"token_type": "Bearer", "expires_in": 3599, "access_token": text or "x"}))
    made = authenticator()
    made.token()

    assert made.claims() == {}


def test_the_token_is_put_on_requests(authenticator):
    class Prepared:
        headers: dict = {}  # noqa: RUF012

    assert authenticator()(Prepared()).headers["Authorization"] == f"Bearer {token_text(1)}"


# -- keeping and renewing ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lifetime", "kept", "renewed_after"),
    [
        (3599, 3298, 3300),
        ("3599", 3298, 3300),
        (2000, 1699, 1701),
        (600, 509, 511),
        (60, 50, 52),
        (None, 3298, 3300),
    ],
)
def test_a_token_is_renewed_before_its_end_and_a_short_one_is_not_asked_for_each_time(
    authenticator, entra, clock, lifetime, *, kept, renewed_after
):
    entra.entra(reply_token(1, lifetime=lifetime), reply_token(2, lifetime=lifetime))
    made = authenticator()
    first = made.token()

    clock.pass_time(kept)
    assert made.token() == first
    assert made.holds(first)
    clock.pass_time(renewed_after - kept)
    assert made.token() == token_text(2)

    assert not made.holds(first)
    assert len(entra.to(TOKEN_PATH)) == 2


@pytest.mark.parametrize(
    "weather",
    [
        Reply(503, b""),
        reply_html(502),
        reply_entra_error(90024, "server_error"),
        Reply(429, b"{}"),
        Reply(is_reset=True),
    ],
)
def test_a_renewal_that_fails_leaves_the_old_token_while_it_holds(authenticator, entra, clock, weather):
    entra.entra(reply_token(1), weather, reply_token(2))
    made = authenticator()
    made.token()

    clock.pass_time(3400)
    assert made.token() == token_text(1)
    assert made.token() == token_text(1)
    asked = len(entra.to(TOKEN_PATH))
    clock.pass_time(60)

    assert made.token() == token_text(2)
    assert asked <= 3  # requests itself sends once more where the connection was reset


def test_a_renewal_that_fails_is_waited_for_once_the_old_token_ended(authenticator, entra, clock):
    entra.entra(reply_token(1), Reply(503, b""), Reply(503, b""), reply_token(2))
    made = authenticator()
    made.token()

    clock.pass_time(3600)

    assert made.token() == token_text(2)
    assert clock.waits[1:] == [1.0, 2.0]


@pytest.mark.parametrize("lifetime", [-5, "-5", "0", 0.5])
def test_a_lifetime_that_is_none_does_not_ask_entra_without_end(authenticator, entra, lifetime):
    entra.entra(reply_token(1, lifetime=lifetime))
    made = authenticator()

    tokens = {made.token() for _ in range(5)}

    assert tokens == {token_text(1)}
    assert made.holds(token_text(1))
    assert len(entra.to(TOKEN_PATH)) == 1


def test_a_refused_token_is_renewed_once_for_all_threads(authenticator, entra):
    made = authenticator()
    stale = made.token()
    together = threading.Barrier(20)

    def renew(_: int) -> bool:
        together.wait()
        return made.renew(stale)

    with ThreadPoolExecutor(20) as pool:
        did = list(pool.map(renew, range(20)))

    assert sum(did) == 1
    assert made.token() == token_text(2)
    assert made.has_replaced(stale)
    assert len(entra.to(TOKEN_PATH)) == 2


def test_twenty_threads_sign_in_once(authenticator, entra):
    made = authenticator()
    together = threading.Barrier(20)

    def token(_: int) -> str:
        together.wait()
        return made.token()

    with ThreadPoolExecutor(20) as pool:
        tokens = set(pool.map(token, range(20)))

    assert tokens == {token_text(1)}
    assert len(entra.to(TOKEN_PATH)) == 1


def test_while_one_thread_renews_others_use_what_still_holds(authenticator, entra, clock):
    asked, go_on = threading.Event(), threading.Event()

    def slow(_request) -> Reply:
        asked.set()
        go_on.wait(10)
        return reply_token(2)

    entra.entra(reply_token(1), slow)
    made = authenticator()
    made.token()
    clock.pass_time(3400)

    with ThreadPoolExecutor(1) as pool:
        renewing = pool.submit(made.token)
        asked.wait(10)
        meanwhile = made.token()
        go_on.set()

    assert meanwhile == token_text(1)
    assert renewing.result() == token_text(2)


# -- refusals ---------------------------------------------------------------------------------------------

REFUSALS = sorted(
    code
    for where, code in remedies.REMEDIES
    if where == "entra" and isinstance(code, int) and code not in (90033, 90006, 90012, 90024, 90055, 50000)
)


@pytest.mark.parametrize("code", REFUSALS)
def test_each_refusal_is_an_error_at_once_with_its_code_its_remedy_and_the_ids(
    authenticator, entra, clock, code
):
    entra.entra(reply_entra_error(code, "invalid_client", status=401))
    made = authenticator()

    error = refused(made)

    assert error.code == code
    assert error.fault == "config"
    assert f"AADSTS{code}: Refused." in error.message
    assert error.remedy == str(remedies.find("entra", code))
    assert error.ids == {"trace id": "4d-trace", "correlation id": "8a-corr"}
    assert "Trace ID" not in error.message
    assert clock.waits == []
    assert len(entra.to(TOKEN_PATH)) == 1


def test_after_a_refusal_entra_is_not_asked_again_by_anyone(authenticator, entra):
    entra.entra(reply_entra_error(7000222, "invalid_client", status=401), reply_token(1))
    made = authenticator()
    first = refused(made)

    with ThreadPoolExecutor(8) as pool:
        errors = set(pool.map(lambda _: refused(made), range(8)))
    with pytest.raises(AuthenticationError):
        made.renew("")

    assert errors == {first}
    assert len(entra.to(TOKEN_PATH)) == 1


def test_a_secret_that_looks_like_an_id_is_called_one(authenticator, entra):
    entra.entra(reply_entra_error(7000215, "invalid_client", status=401))

    error = refused(authenticator(client_secret="0a1b2c3d-0000-1111-2222-333344445555"))

    assert error.remedy is not None
    assert error.remedy.startswith("client_secret looks like the secret's ID, not its Value.")


def test_an_unknown_tenant_comes_out_of_the_first_request(authenticator, entra, clock):
    entra.script(
        OPENID_PATH, reply_entra_error(90002, "invalid_tenant", "Tenant 'contoso.onmicrosoft.com' not found.")
    )

    error = refused(authenticator())

    assert error.code == 90002
    assert "Tenant 'contoso.onmicrosoft.com' not found." in error.message
    assert error.remedy == str(remedies.find("entra", 90002))
    assert clock.waits == []


def test_an_authority_that_knows_no_such_tenant_and_says_nothing_is_an_unknown_tenant_too(
    authenticator, entra
):
    entra.script(OPENID_PATH, reply_json({"error": {"code": "", "message": "no"}}, 404))

    assert refused(authenticator()).code == 90002


@pytest.mark.parametrize("code", [None, "7000215", [], ["7000215"], [7000215]])
def test_the_code_is_found_in_the_text_where_the_list_has_none(authenticator, entra, code):
    entra.entra(reply_entra_error(7000215, "invalid_client", error_codes=code))

    assert refused(authenticator()).code == 7000215


def test_an_unknown_code_falls_back_on_the_error(authenticator, entra):
    entra.entra(reply_entra_error(1234567, "invalid_resource"))

    error = refused(authenticator())

    assert error.code == 1234567
    assert error.remedy == str(remedies.find("entra-error", "invalid_resource"))


# -- weather ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "weather",
    [
        Reply(500, b""),
        Reply(503, b"busy"),
        reply_html(502),
        reply_entra_error(90033, "temporarily_unavailable"),
        reply_entra_error(50000, "invalid_request"),
        reply_entra_error(0, "server_error"),
        Reply(429, b"{}", {"Content-Type": "application/json"}),
        Reply(429, b"slow down"),
        reply_html(403),
        reply_html(200),
        reply_json([]),
        reply_json({"hello": "proxy"}),
        Reply(200, b"{broken"),
        Reply(302, b"", {"Location": "https://proxy.example/login"}),
        Reply(is_reset=True),
        Reply(200, b'{"access_token": "x"}', sent=5),
    ],
    ids=lambda each: f"{each.status} {each.body[:20]!r} {each.sent}",
)
@pytest.mark.parametrize("path", [TOKEN_PATH, OPENID_PATH])
def test_weather_is_waited_out(authenticator, entra, clock, weather, path):
    good = entra._scripts[path][0]
    entra.script(path, weather, weather, good)
    made = authenticator()

    assert made.token() == token_text(1)
    assert sum(clock.waits) <= 3
    assert clock.waits


@pytest.mark.parametrize("status", [429, 503])
def test_entra_gets_the_wait_that_it_asks_for(authenticator, entra, clock, status):
    entra.entra(Reply(status, b"{}", {"Retry-After": "17"}), reply_token(1))

    authenticator().token()

    assert clock.waits == [17.0]


def test_the_failed_answer_that_msal_remembers_is_not_taken_for_a_new_one(authenticator, entra):
    entra.entra(Reply(429, b"{}", {"Retry-After": "2"}), reply_token(1))

    assert authenticator().token() == token_text(1)
    assert len(entra.to(TOKEN_PATH)) == 2


def test_weather_that_lasts_ends_within_the_budget_with_few_requests_and_for_all(authenticator, entra, clock):
    entra.entra(Reply(503, b""))
    made = authenticator()

    with pytest.raises(TransportError, match="it answered 503") as caught:
        made.token()
    with pytest.raises(TransportError) as again:
        made.token()

    assert again.value is caught.value
    assert sum(clock.waits) <= 300
    assert len(entra.to(TOKEN_PATH)) <= 12
    assert caught.value.fault == "transient"


def test_the_retry_budget_of_the_user_also_bounds_signing_in(authenticator, entra, clock):
    entra.entra(Reply(503, b""))

    with pytest.raises(TransportError):
        authenticator(retry_budget_seconds=5).token()

    assert sum(clock.waits) <= 5


def test_an_entra_that_never_answers_is_left_after_a_time_out(authenticator, entra, clock):
    clock.socket_seconds = 0.2
    let_go = threading.Event()
    entra.entra(Reply(before=lambda: let_go.wait(10)))
    made = authenticator(retry_budget_seconds=0)

    with pytest.raises(TransportError, match="No answer came in time"):
        made.token()
    let_go.set()


def test_a_host_that_is_not_there_is_said_to_be_refused(authenticator, new_server):
    gone = new_server()
    gone.close()

    with pytest.raises(TransportError, match="The connection was refused") as caught:
        authenticator(authority=gone.url, retry_budget_seconds=0).token()

    assert caught.value.remedy == remedies.find("no-answer", "refused").step


def test_a_name_that_is_not_found_is_said_to_be_so(authenticator):
    with pytest.raises(TransportError, match="The host name was not found"):
        authenticator(authority="https://nowhere.invalid", retry_budget_seconds=0).token()


def test_a_certificate_that_is_not_trusted_points_at_the_ca_bundle(authenticator, monkeypatch, tmp_path):
    other = tmp_path / "other.pem"
    key = new_key()
    other.write_bytes(pem_of(key, new_certificate(key)))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(other))

    with pytest.raises(TransportError, match="not trusted") as caught:
        authenticator(retry_budget_seconds=0).token()

    assert "REQUESTS_CA_BUNDLE" in str(caught.value.remedy)


def test_a_ca_bundle_that_is_not_there_is_said_at_once(authenticator, monkeypatch, clock):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")

    with pytest.raises(TransportError, match="file of trusted certificates is not there"):
        authenticator().token()

    assert clock.waits == []


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"])
def test_either_name_of_the_ca_bundle_is_obeyed(authenticator, monkeypatch, certificate, name):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(name, str(certificate))

    assert authenticator().token() == token_text(1)


def test_a_proxy_of_the_environment_is_obeyed_and_said_to_fail(authenticator, monkeypatch, new_server):
    gone = new_server()
    gone.close()
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{gone.port}")

    with pytest.raises(TransportError, match="The proxy did not let the call through"):
        authenticator(retry_budget_seconds=0).token()
    monkeypatch.setenv("NO_PROXY", "localhost")

    assert authenticator().token() == token_text(1)


def test_a_proxy_that_cannot_be_read_is_said_at_once(authenticator, monkeypatch, clock):
    monkeypatch.setenv("HTTPS_PROXY", "http://")

    with pytest.raises(TransportError):
        authenticator().token()

    assert clock.waits == []


def test_a_netrc_puts_nothing_on_a_sign_in(authenticator, entra, monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine localhost login user password hunter2\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))

    authenticator().token()

    assert all("authorization" not in each.headers for each in entra.received)


def test_cookies_of_entra_are_not_sent_back(authenticator, entra):
    good = entra._scripts[OPENID_PATH][0]
    good.headers = {**good.headers, "Set-Cookie": "fpc=affinity; Path=/"}

    authenticator().token()

    assert all("cookie" not in each.headers for each in entra.received)


def test_a_stopped_run_asks_entra_for_nothing(config, clock, entra):
    pace = Pace(1, clock)
    made = EntraAuthenticator(config(), clock=clock, pace=pace)
    pace.stop()

    with pytest.raises(Interrupted):
        made.token()

    assert entra.received == []


def test_a_stop_ends_the_wait_for_entra_and_is_not_remembered_as_a_refusal(config, clock, entra):
    pace = Pace(1, clock)

    def stop_then_fail(_request) -> Reply:
        pace.stop()
        return Reply(503, b"")

    entra.entra(stop_then_fail)
    made = EntraAuthenticator(config(), clock=clock, pace=pace)

    with pytest.raises(Interrupted):
        made.token()

    assert made._refused is None


def test_adfs_is_asked_at_its_own_addresses(authenticator, entra, fno):
    entra.script(
        "/adfs/.well-known/openid-configuration",
        reply_json(
            {
                "issuer": f"{entra.url}/adfs",
                "authorization_endpoint": f"{entra.url}/adfs/oauth2/authorize",
                "token_endpoint": f"{entra.url}/adfs/oauth2/token",
            }
        ),
    )
    entra.script("/adfs/oauth2/token", reply_token(7))

    assert authenticator(authority=f"{entra.url}/adfs").token() == token_text(7)


def said_by(authenticator: EntraAuthenticator) -> list[str]:
    try:
        authenticator.token()
    except D365FOError as exc:
        return [str(exc), repr(exc), *traceback.format_exception(exc)]
    return []


# -- secrets ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers",
    [
        (reply_token(1), Reply(503, b""), reply_token(2)),
        (reply_entra_error(7000215, "invalid_client", f"Not the secret: {SECRET} for app"),),
        (Reply(503, b""),),
        (reply_html(403),),
    ],
)
def test_neither_secret_nor_token_reaches_a_log_a_message_a_repr_or_a_traceback(
    authenticator, entra, clock, caplog, answers
):
    caplog.set_level(logging.DEBUG)
    entra.entra(*answers)
    made = authenticator()
    shown = [repr(made), repr(made._held), repr(BearerToken(token_text(1)))]

    shown += said_by(made)
    clock.pass_time(3400)
    shown += said_by(made)
    shown += [caplog.text, repr(made), repr(made._held), repr(made._config)]

    text = "\n".join(shown)
    assert SECRET not in text
    for number in (1, 2):
        assert token_text(number) not in text
        assert token_text(number).split(".")[2] not in text


def test_the_tenant_of_the_tests_is_the_one_that_is_asked(authenticator, entra):
    authenticator().token()

    assert all(each.path.startswith(f"/{TENANT}/") for each in entra.received)
    assert reply_error(404).status == 404
