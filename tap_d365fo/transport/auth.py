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
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import requests
from requests.auth import AuthBase

from tap_d365fo import remedies
from tap_d365fo.errors import AuthenticationError, D365FOError, Interrupted, TransportError
from tap_d365fo.transport.clock import Clock, SystemClock
from tap_d365fo.transport.credential import client_credential, looks_like_id
from tap_d365fo.transport.http import TimedSession
from tap_d365fo.transport.pace import Pace
from tap_d365fo.transport.retry import RetryPolicy, asked_wait

if TYPE_CHECKING:
    from collections.abc import Mapping

    import msal

    from tap_d365fo.config import Config

logger = logging.getLogger("tap_d365fo")

SIGN_IN_SECONDS = 30.0
"""How long one request to Entra may take."""
SIGN_IN_BUDGET_SECONDS = 300.0
"""How long a sign-in is tried when Entra does not answer, the retry budget permitting."""
RENEW_SECONDS_BEFORE = 300.0
RENEW_AT_SHARE = 0.85
"""A token is renewed five minutes before its end, a short-lived one after most of its life."""
ASK_AGAIN_SECONDS = 30.0
"""How long the old token is used before a renewal that failed is tried again."""
USUAL_LIFETIME = 3599.0
_TOO_MANY = 429
_AADSTS = re.compile(r"AADSTS(\d+)")
_TRANSIENT_CODES = frozenset({90033, 90006, 90012, 90024, 90055, 50000})
_TRANSIENT_ERRORS = frozenset({"temporarily_unavailable", "server_error"})


_SURPRISES = (ValueError, KeyError, TypeError, AttributeError, RuntimeError)
"""What MSAL raises where an answer is not what it expected: an unknown tenant, a proxy's page, a redirect."""


@dataclass(frozen=True, slots=True)
class _Token:
    """A token and its time, on the clock's monotonic seconds; one value, so that threads read it unlocked."""

    text: str = field(default="", repr=False)
    renew_at: float = 0.0
    ends_at: float = 0.0


_NO_TOKEN = _Token()


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

    def __init__(self, error: D365FOError, *, wait: float | None = None) -> None:
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
        self._held = _NO_TOKEN
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
        held, now = self._held, self._clock.monotonic()
        if now < held.renew_at or (now < held.ends_at and self._lock.locked()):
            return held.text  # fresh, or good enough while another thread renews it
        with self._lock:
            if self._clock.monotonic() >= self._held.renew_at:
                self._sign_in()
            return self._held.text

    def holds(self, token: str) -> bool:
        """Say whether a token is the present one and not at its end; never asks Entra."""
        held = self._held
        return token == held.text and self._clock.monotonic() < held.ends_at

    def renew(self, stale: str) -> bool:
        """Drop a token that F&O refused and sign in again, once for all threads; say whether this call did it."""
        with self._lock:
            is_current = self._held.text == stale
            if is_current:
                self._held = _NO_TOKEN
                self._application = None
                self._sign_in()
            return is_current

    def has_replaced(self, token: str) -> bool:
        """Say whether a token is not the present one any more; waits for a sign-in that is under way."""
        with self._lock:
            return bool(self._held.text) and self._held.text != token

    def claims(self) -> Mapping[str, Any]:
        """Return the token's claims, decoded and not verified; empty where there is none to read."""
        try:
            payload = self._held.text.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        except (IndexError, ValueError, RecursionError):
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
            if self._pace.stopped:
                raise Interrupted("Stopped before signing in.")
            attempt += 1
            try:
                self._take(self._ask())
                return
            except _Passing as passing:
                self._application = None  # it would remember the failed answer
                if self._holds_on(passing):
                    return
                wait = self._policy.wait(attempt, self._rng, asked=passing.wait)
                if not self._policy.allows(wait, elapsed=self._clock.monotonic() - began):
                    self._refused = passing.error
                    raise passing.error from None
                logger.warning("Asking Entra again in %.0f s. %s", wait, passing.error)
                self._pace.sleep(wait)
            except Interrupted:
                raise
            except D365FOError as exc:
                self._refused = exc
                raise

    def _holds_on(self, passing: _Passing) -> bool:
        """Keep the old token where it still holds, and try again in a while."""
        held, now = self._held, self._clock.monotonic()
        if now >= held.ends_at:
            return False
        logger.warning("Renewing the token failed; the old one still holds. %s", passing.error)
        again = now + max(ASK_AGAIN_SECONDS, passing.wait or 0.0)
        self._held = _Token(held.text, renew_at=min(held.ends_at, again), ends_at=held.ends_at)
        return True

    def _take(self, answer: Mapping[str, Any]) -> None:
        now = self._clock.monotonic()
        told = float(answer.get("expires_in") or USUAL_LIFETIME)
        lifetime = (
            told if told >= 1 else USUAL_LIFETIME
        )  # one that ends as it comes would be asked for without end
        kept = max(lifetime - RENEW_SECONDS_BEFORE, lifetime * RENEW_AT_SHARE)
        self._held = _Token(str(answer["access_token"]), renew_at=now + kept, ends_at=now + lifetime)

    def _ask(self) -> Mapping[str, Any]:
        """Ask Entra once. Raises _Passing for weather, AuthenticationError for a refusal."""
        self._http.last = None
        try:
            if self._application is None:
                self._application = self._new_application()
            self._application.remove_tokens_for_client()
            answer: Mapping[str, Any] = self._application.acquire_token_for_client(
                scopes=[self._config.scope]
            )
        except OSError as exc:  # requests' errors are among them, and so is a CA bundle that is not there
            raise self._unreachable(exc) from None
        except _msal_service_error():
            raise self._busy() from None
        except _SURPRISES as exc:
            raise self._from_unexpected(exc) from None
        if "access_token" not in answer:
            raise self._refusal(answer)
        return answer

    def _new_application(self) -> msal.ConfidentialClientApplication:
        """Make an application, which asks Entra for its addresses first."""
        import msal  # noqa: PLC0415  a tenth of a second that --version need not pay

        config = self._config
        is_adfs = config.authority.endswith("/adfs")
        return msal.ConfidentialClientApplication(
            config.client_id,
            client_credential=client_credential(config.credentials, now=self._clock.now()),
            authority=config.authority if is_adfs else f"{config.authority}/{config.tenant_id}",
            instance_discovery=False,
            http_client=self._http,
        )

    # -- what went wrong --------------------------------------------------------------------------------

    def _unreachable(self, exc: OSError) -> Exception:
        root = remedies.root_of(exc)
        kind = remedies.kind_of_no_answer(exc, root)
        remedy = remedies.find("no-answer", kind)
        message = f"Asking Entra at {self._config.authority} for a token brought no answer. {remedy.cause}"
        error = TransportError(message, remedy=remedy.step)
        is_for_good = kind == "ca-file" or isinstance(exc, ValueError)  # a malformed URL or proxy
        return error if is_for_good else _Passing(error)

    def _busy(self) -> _Passing:
        last = self._http.last
        status = last.status_code if last is not None else "with an error of its own"
        remedy = remedies.find("entra-error", "temporarily_unavailable")
        wait = asked_wait(last.headers) if last is not None else None
        return _Passing(
            TransportError(f"Asking Entra for a token: it answered {status}.", remedy=str(remedy)), wait=wait
        )

    def _not_entra(self) -> _Passing:
        remedy = remedies.find("entra-error", "not-entra")
        message = f"Asking Entra at {self._config.authority} for a token: the answer is not Entra's."
        return _Passing(TransportError(message, remedy=str(remedy)))

    def _from_unexpected(self, exc: Exception) -> Exception:
        """Tell an unknown tenant, which MSAL raises from its constructor, from a page that is not Entra's."""
        last = self._http.last
        if last is None and isinstance(exc.__context__, requests.RequestException):
            return self._unreachable(exc.__context__)  # those about malformed URLs are ValueErrors to MSAL
        if last is not None and (last.status_code == _TOO_MANY or last.status_code // 100 == 5):  # noqa: PLR2004
            return self._busy()
        document = _document(last)
        if document is None or last is None or last.status_code not in (400, 401, 404):
            logger.debug("MSAL did not understand an answer: %s", type(exc).__name__)
            return self._not_entra()
        if isinstance(document.get("error"), str):
            return self._refusal(document)
        return self._error(90002, "invalid_tenant", "the tenant is not known at this authority")

    def _refusal(self, answer: Mapping[str, Any]) -> Exception:
        """Return what a dictionary without a token means: weather or a refusal."""
        text, kind = str(answer.get("error_description", "")), str(answer.get("error", ""))
        listed = answer.get("error_codes")
        codes = [code for code in listed if isinstance(code, int)] if isinstance(listed, list) else []
        code = next(iter(codes + [int(each) for each in _AADSTS.findall(text)]), 0)
        last = self._http.last
        if last is not None and last.status_code == _TOO_MANY:
            return self._busy()
        if not kind and not code:
            return self._not_entra()
        ids = {
            "trace id": str(answer.get("trace_id", "")),
            "correlation id": str(answer.get("correlation_id", "")),
        }
        error = self._error(code, kind, text, ids)
        if code in _TRANSIENT_CODES or kind in _TRANSIENT_ERRORS:
            return _Passing(TransportError(error.message, remedy=error.remedy, ids=ids))
        return error

    def _error(
        self, code: int, kind: str, text: str, ids: dict[str, str] | None = None
    ) -> AuthenticationError:
        secret = self._config.credentials.secret
        remedy = remedies.for_entra(code, kind, secret_looks_like_id=looks_like_id(secret))
        said = re.split(r"\s*(?:Trace ID:|\r?\n)|[\"}]", text, maxsplit=1)[0].strip() or kind
        said = said.replace(secret, "***") if secret else said
        return AuthenticationError(
            f"Asking Entra for a token failed: {said}",
            code=code or None,
            kind=kind,
            remedy=str(remedy),
            ids=ids,
        )


def _document(answer: requests.Response | None) -> dict[str, Any] | None:
    """Return an answer's JSON object, None for anything else."""
    try:
        document = answer.json() if answer is not None else None
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _msal_service_error() -> type[Exception]:
    from msal.exceptions import MsalServiceError  # noqa: PLC0415  MSAL is imported when it is first needed

    return MsalServiceError  # type: ignore[no-any-return]  # MSAL has no types
