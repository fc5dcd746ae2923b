"""Signs the application in to Entra, and puts its token on requests.

MSAL does the protocol. Around it stands what it leaves to its caller: one sign-in for all threads, a
time-out, the old token while a renewal fails but the old one still holds, and an end to asking once Entra
has said no.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import re
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

from tap_d365fo import remedies
from tap_d365fo.errors import AuthenticationError, ConfigurationError, D365FOError, TransportError
from tap_d365fo.transport.clock import Clock, SystemClock
from tap_d365fo.transport.http import TimedSession
from tap_d365fo.transport.pace import Pace
from tap_d365fo.transport.retry import RetryPolicy, retry_after

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msal

    from tap_d365fo.config import Config

logger = logging.getLogger("tap_d365fo")

SIGN_IN_SECONDS = 30.0
"""How long one request to Entra may take."""
SIGN_IN_BUDGET_SECONDS = 300.0
"""How long a sign-in is tried when Entra does not answer, the retry budget permitting."""
RENEW_AT_SHARE = 0.85
RENEW_SECONDS_BEFORE = 300.0
"""A token is renewed five minutes before its end, a short-lived one after most of its life."""
_TOO_MANY = 429
_AADSTS = re.compile(r"AADSTS(\d+)")
_TRANSIENT_CODES = frozenset({90033, 90006, 90012, 90024, 90055, 50000})
_TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error"})


class BearerToken(AuthBase):
    """Puts one token on one request; given explicitly, it keeps `.netrc` from putting something else there."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put the token on the request."""
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request

    def __repr__(self) -> str:
        return "BearerToken(...)"


class _Passing(Exception):
    """Entra did not answer, or answered that it cannot now."""

    def __init__(self, error: D365FOError, *, wait: float = 0.0) -> None:
        self.error = error
        self.wait = wait
        """What Entra asked for by `Retry-After`, in seconds."""
        super().__init__(str(error))


class EntraAuthenticator(AuthBase):
    """A `requests` authenticator: client-credentials tokens for one environment, for all threads."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Clock | None = None,
        pace: Pace | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._config = config
        self._clock = clock or SystemClock()
        self._pace = pace or Pace(1, self._clock)
        self._rng = rng or random.Random()
        self._lock = threading.Lock()
        self._token = ""
        self._renew_at = 0.0
        self._ends_at = 0.0
        self._application: msal.ConfidentialClientApplication | None = None
        self._refused: D365FOError | None = None
        seconds = min(SIGN_IN_SECONDS, config.request_timeout_seconds)
        self._http = TimedSession(seconds=self._clock.timeout(seconds))
        budget = min(SIGN_IN_BUDGET_SECONDS, config.retry_budget_seconds)
        self._policy = RetryPolicy(budget)

    def __repr__(self) -> str:
        return (
            f"EntraAuthenticator(client_id={self._config.client_id!r}, tenant_id={self._config.tenant_id!r})"
        )

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Put a token on a request."""
        return BearerToken(self.token())(request)

    def token(self) -> str:
        """Return a token that holds, signing in or renewing first if need be.

        Raises AuthenticationError where Entra refuses, TransportError where it cannot be reached; from then
        on every call raises the same, without asking Entra again.
        """
        with self._lock:
            if self._clock.monotonic() >= self._renew_at:
                self._sign_in()
            return self._token

    def renew(self, stale: str) -> bool:
        """Drop a token that F&O refused and sign in again, once for all threads; say whether this call did it."""
        with self._lock:
            is_current = self._token == stale
            if is_current:
                self._token, self._renew_at, self._ends_at = "", 0.0, 0.0
                self._application = None
                self._sign_in()
            return is_current

    def has_replaced(self, token: str) -> bool:
        """Say whether a token is not the present one any more."""
        with self._lock:
            return bool(self._token) and self._token != token

    def claims(self) -> Mapping[str, Any]:
        """Return the token's claims, decoded and not verified; empty where there is none to read."""
        try:
            payload = self._token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (IndexError, ValueError):
            return {}
        return claims if isinstance(claims, dict) else {}

    def close(self) -> None:
        """Give connections back."""
        self._http.close()

    # -- signing in -------------------------------------------------------------------------------------

    def _sign_in(self) -> None:
        if self._refused is not None:
            raise self._refused
        began, attempt = self._clock.monotonic(), 0
        while True:
            attempt += 1
            try:
                self._take(self._ask())
                return
            except _Passing as passing:
                if self._clock.monotonic() < self._ends_at:
                    logger.warning("Renewing the token failed; the old one still holds. %s", passing.error)
                    self._renew_at = min(self._ends_at, self._clock.monotonic() + 30)
                    return
                wait = max(self._policy.wait(attempt, self._rng), passing.wait)
                if not self._policy.allows(wait, elapsed=self._clock.monotonic() - began):
                    self._refused = passing.error
                    raise passing.error from None
                logger.info("Asking Entra again in %.0f s. %s", wait, passing.error)
                self._application = None  # it would remember the failed answer
                self._pace.sleep(wait)
            except D365FOError as exc:
                self._refused = exc
                raise

    def _take(self, answer: Mapping[str, Any]) -> None:
        now = self._clock.monotonic()
        lifetime = float(answer.get("expires_in", 0))
        self._token = str(answer["access_token"])
        self._ends_at = now + lifetime
        self._renew_at = now + max(lifetime - RENEW_SECONDS_BEFORE, lifetime * RENEW_AT_SHARE)
        if lifetime > 2 * RENEW_SECONDS_BEFORE:
            self._renew_at = now + lifetime - RENEW_SECONDS_BEFORE

    def _ask(self) -> Mapping[str, Any]:
        """Ask Entra once. Raises _Passing for weather, AuthenticationError for a refusal."""
        try:
            if self._application is None:
                self._application = self._new_application()
            self._application.remove_tokens_for_client()
            answer: Mapping[str, Any] = self._application.acquire_token_for_client(
                scopes=[self._config.scope]
            )
        except requests.RequestException as exc:
            raise _Passing(_unreachable(exc, self._config)) from None
        except _msal_service_error() as exc:
            raise _Passing(
                TransportError(f"Asking Entra for a token: {exc}.", remedy=remedies.ENTRA_UNAVAILABLE)
            ) from None
        except ValueError as exc:
            raise self._from_value_error(exc) from None
        if "access_token" in answer:
            return answer
        return self._refusal(answer)

    def _new_application(self) -> msal.ConfidentialClientApplication:
        import msal  # noqa: PLC0415  a tenth of a second that --version need not pay

        config = self._config
        return msal.ConfidentialClientApplication(
            config.client_id,
            client_credential=_client_credential(config),
            authority=f"{config.authority}/{config.tenant_id}"
            if not config.authority.endswith("/adfs")
            else config.authority,
            instance_discovery=False,
            http_client=self._http,
        )

    def _from_value_error(self, exc: ValueError) -> Exception:
        """Tell an unknown tenant, which MSAL raises from its constructor, from a page that is not Entra's."""
        last = self._http.last
        if last is not None and (last.status_code == _TOO_MANY or last.status_code // 100 == 5):  # noqa: PLR2004
            return _busy(last)
        if last is not None and "html" in last.headers.get("Content-Type", "").lower():
            message = (
                "Asking Entra for a token: a web page came back, which is not Entra's answer (a proxy?)."
            )
            return _Passing(TransportError(message, remedy=remedies.ENTRA_UNREACHABLE))
        text = " ".join(str(each) for each in (exc, exc.__cause__, exc.__context__) if each)
        found = _AADSTS.search(text)
        if found:
            return self._error(int(found[1]), "invalid_tenant", text, {})
        if isinstance(exc, json.JSONDecodeError) or "JSON" in text:
            return _Passing(
                TransportError(
                    "Asking Entra for a token: the answer is not Entra's (a proxy's page?).",
                    remedy=remedies.ENTRA_UNREACHABLE,
                )
            )
        if "openid" in text or "authority" in text.lower() or "tenant" in text.lower():
            return self._error(90002, "invalid_tenant", "the tenant is not known at this authority", {})
        return AuthenticationError(
            f"Preparing the sign-in: the credential cannot be used ({type(exc).__name__}).",
            remedy=remedies.BAD_CREDENTIAL,
        )

    def _refusal(self, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        text = str(answer.get("error_description", ""))
        codes = [int(code) for code in answer.get("error_codes") or _AADSTS.findall(text)]
        code = codes[0] if codes else 0
        ids = {
            "trace id": str(answer.get("trace_id", "")),
            "correlation id": str(answer.get("correlation_id", "")),
        }
        kind = str(answer.get("error", "unknown error"))
        last = self._http.last
        if last is not None and last.status_code == _TOO_MANY:
            raise _busy(last)
        error = self._error(code, kind, text, ids)
        if code in _TRANSIENT_CODES or kind in _TRANSIENT_ERRORS:
            raise _Passing(TransportError(error.message, remedy=remedies.ENTRA_UNAVAILABLE, ids=ids))
        raise error

    def _error(self, code: int, kind: str, text: str, ids: dict[str, str]) -> AuthenticationError:
        remedy = remedies.for_entra(
            code, kind, secret_looks_like_id=_looks_like_id(self._config.credentials.secret)
        )
        said = text.partition("Trace ID:")[0].partition("\r\n")[0].strip() or kind
        secret = self._config.credentials.secret
        said = said.replace(secret, "***") if secret else said
        return AuthenticationError(
            f"Asking Entra for a token failed: {said}", code=code or None, remedy=remedy, ids=ids
        )


def _busy(answer: requests.Response) -> _Passing:
    message = f"Asking Entra for a token: it answered {answer.status_code}."
    wait = retry_after(answer.headers.get("Retry-After"), server_date=answer.headers.get("Date"))
    return _Passing(TransportError(message, remedy=remedies.ENTRA_UNAVAILABLE), wait=wait or 0.0)


def _client_credential(config: Config) -> Any:
    """Return the credential in the form that MSAL takes."""
    credentials = config.credentials
    if credentials.secret:
        return credentials.secret
    if credentials.federated_token_file:
        path = Path(credentials.federated_token_file)
        return {"client_assertion": lambda: path.read_text(encoding="utf-8").strip()}
    return _certificate(str(credentials.certificate), credentials.certificate_password)


def _certificate(given: str, password: str | None) -> dict[str, Any]:
    secret = {"passphrase": password} if password else {}
    if "-----BEGIN" not in given:
        path = Path(given)
        if path.suffix.lower() in (".pfx", ".p12") or b"-----BEGIN" not in path.read_bytes():
            return {"private_key_pfx_path": str(path), "public_certificate": True, **secret}
        given = path.read_text(encoding="utf-8")
    parts = re.findall(r"-----BEGIN ([A-Z ]+)-----.*?-----END \1-----", given, re.DOTALL)
    blocks = re.findall(r"-----BEGIN [A-Z ]+-----.*?-----END [A-Z ]+-----", given, re.DOTALL)
    keys = [block for name, block in zip(parts, blocks, strict=False) if "PRIVATE KEY" in name]
    certificates = [block for name, block in zip(parts, blocks, strict=False) if name == "CERTIFICATE"]
    if not keys or not certificates:
        raise ConfigurationError(
            ["client_certificate must hold the certificate and its private key, both as PEM."]
        )
    return {"private_key": keys[0], "public_certificate": "\n".join(certificates), **secret}


def _msal_service_error() -> type[Exception]:
    from msal.exceptions import MsalServiceError  # noqa: PLC0415  MSAL is imported when it is first needed

    return MsalServiceError  # type: ignore[no-any-return]


def _unreachable(exc: requests.RequestException, config: Config) -> TransportError:
    kind, remedy = remedies.for_no_answer(exc, exc.__context__ or exc)
    return TransportError(f"Asking Entra at {config.authority} for a token: {kind}.", remedy=remedy)


def _looks_like_id(secret: str | None) -> bool:
    return bool(secret and re.fullmatch(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", secret))
