"""The Entra side: discovery document and token endpoint for one tenant and one application.

Tokens have the shape of JWTs and the claims F&O looks at. What a client got wrong is answered with the
AADSTS code and body that Entra uses; the switch `entra.error` forces any of them.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import threading
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from tap_d365fo.sandbox.reply import Refusal, Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from random import Random

    from tap_d365fo.sandbox.switches import Switches

JSON = "application/json; charset=utf-8"

_DISCOVERY = re.compile(r"/(?P<tenant>[^/]+)(?:/v2\.0)?/\.well-known/openid-configuration$")
_TOKEN = re.compile(r"/(?P<tenant>[^/]+)/oauth2(?P<version>/v2\.0)?/token$")
_TENANT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$|[\w-]+(\.[\w-]+)+$")
_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_FIRST_PARTY = ("https://erp.dynamics.com", "00000015-0000-0000-c000-000000000000")


@dataclass(frozen=True, slots=True)
class EntraError:
    """One row of what Entra refuses with."""

    error: str
    says: str
    status: int = 400


ENTRA_ERRORS: Mapping[int, EntraError] = {
    7000215: EntraError(
        "invalid_client",
        "Invalid client secret provided. Ensure the secret being sent in the request is the client secret "
        "value, not the client secret ID, for a secret added to app '{client}'.",
        401,
    ),
    7000222: EntraError(
        "invalid_client", "The provided client secret keys for app '{client}' are expired.", 401
    ),
    7000218: EntraError(
        "invalid_client",
        "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
        401,
    ),
    700016: EntraError(
        "unauthorized_client",
        "Application with identifier '{client}' was not found in the directory '{tenant}'.",
    ),
    700011: EntraError(
        "unauthorized_client", "Application with identifier '{client}' was not found in any directory."
    ),
    7000112: EntraError("unauthorized_client", "Application '{client}' is disabled.", 401),
    70001: EntraError("unauthorized_client", "Application with identifier '{client}' is not available."),
    90002: EntraError(
        "invalid_request", "Tenant '{tenant}' not found. Check to make sure you have the correct tenant ID."
    ),
    90023: EntraError("invalid_request", "Specified tenant identifier '{tenant}' is not valid."),
    900023: EntraError(
        "invalid_request",
        "Specified tenant identifier '{tenant}' is neither a valid DNS name, nor a valid external domain.",
    ),
    9001023: EntraError("invalid_request", "The grant type isn't supported over the /common endpoint."),
    90038: EntraError("invalid_request", "Confidential Client is not supported in Cross Cloud request."),
    900382: EntraError("invalid_request", "Confidential Client is not supported in Cross Cloud request."),
    900432: EntraError("invalid_request", "Confidential Client is not supported in Cross Cloud request."),
    500011: EntraError(
        "invalid_resource",
        "The resource principal named {resource} was not found in the tenant named {tenant}. This can happen "
        "if the application has not been installed by the administrator of the tenant.",
    ),
    50001: EntraError("invalid_resource", "The resource '{resource}' is disabled or does not exist."),
    650057: EntraError(
        "invalid_resource", "Invalid resource. The client has requested access to {resource}."
    ),
    650052: EntraError(
        "invalid_request", "The app needs access to a service ({resource}) that your organization lacks."
    ),
    65001: EntraError("invalid_grant", "The user or administrator has not consented to use the application."),
    70011: EntraError(
        "invalid_scope", "The provided request must include a 'scope' input parameter. {scope}"
    ),
    28002: EntraError(
        "invalid_scope", "Provided value for the input parameter scope '{scope}' is not valid."
    ),
    700022: EntraError("invalid_grant", "The scope {scope} names more than one resource."),
    700027: EntraError("invalid_client", "Client assertion failed signature validation.", 401),
    700030: EntraError(
        "invalid_client", "Invalid certificate: its subject does not match the application.", 401
    ),
    53003: EntraError("access_denied", "Access has been blocked by Conditional Access policies."),
    50034: EntraError("invalid_grant", "The user account does not exist in the directory."),
    50126: EntraError("invalid_grant", "Error validating credentials due to invalid username or password."),
    90033: EntraError("temporarily_unavailable", "A transient error has occurred. Please try again.", 503),
    90006: EntraError("server_error", "ExternalServerRetryableError.", 503),
    90012: EntraError("server_error", "RequestTimeout.", 504),
    90024: EntraError("server_error", "RequestBudgetExceededError: a transient error has occurred.", 503),
    90055: EntraError("server_error", "TenantThrottlingError: there are too many incoming requests.", 429),
    50000: EntraError("server_error", "TokenIssuanceError: there's an issue with the sign-in service.", 500),
}


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was given out; `claims` are what it says."""

    text: str
    claims: Mapping[str, Any]
    ends: float
    """On the monotonic clock."""


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """What was asked of the token endpoint, secrets left out."""

    time: float
    tenant: str
    client_id: str
    scope: str
    credential: str
    """`secret`, `assertion` or `none`."""
    assertion: Mapping[str, Any]
    """Header and claims of a client assertion, merged."""
    status: int


@dataclass(frozen=True, slots=True)
class Identity:
    """The tenant and application that the sandbox knows."""

    tenant_id: str = "5b1f7c2e-9d43-4c1a-8f6b-2a7e0d9c4b11"
    tenant_domain: str = "contoso.onmicrosoft.com"
    client_id: str = "c3a9e5d7-1b24-4f80-9e6d-70b1c8f2a345"
    client_secret: str = "Sbx8Q~kP+3n/T.v0=rW_aZ%41-not&real"
    client_secret_id: str = "0e4d2f6a-7c35-4b19-a8d0-91c2e7f45b68"
    object_id: str = "8f2b6d10-4e7a-4c93-b5d8-36a1e9c70f24"


class Entra:
    """Gives out tokens, and remembers which are good."""

    def __init__(
        self, identity: Identity, switches: Switches, rng: Random, *, environment: Callable[[], str]
    ) -> None:
        self.identity, self._switches, self._rng, self._environment = identity, switches, rng, environment
        self.requests: list[TokenRequest] = []
        self.discoveries = 0
        self.thumbprints: set[str] = set()
        """Certificates of the application, as base64url SHA-1 or SHA-256; empty trusts every assertion."""
        self._tokens: dict[str, Token] = {}
        self._lock = threading.Lock()

    def answer(self, request: Request) -> Reply:
        """Answer the discovery document or a request for a token."""
        try:
            if found := _DISCOVERY.match(request.path):
                return self._discovery(found["tenant"], request)
            if (found := _TOKEN.match(request.path)) and request.method == "POST":
                return self._token(found["tenant"], request, is_v2=bool(found["version"]))
        except Refusal as refusal:
            return refusal.reply
        return Reply(404, b"", None)

    def token(self, text: str | None) -> Token | None:
        """Return a token that is good now, or None."""
        found = self._tokens.get(text or "")
        return found if found is not None and found.ends > time.monotonic() else None

    def claims_of(self, text: str | None) -> Mapping[str, Any]:
        """Return the claims of any token ever given out; none for a stranger's."""
        found = self._tokens.get(text or "")
        return found.claims if found is not None else {}

    def revoke(self, text: str | None = None) -> None:
        """Make a token, or all of them, worthless from now on."""
        with self._lock:
            for each in [text] if text is not None else list(self._tokens):
                if each in self._tokens:
                    old = self._tokens[each]
                    self._tokens[each] = Token(old.text, old.claims, 0.0)

    def _discovery(self, tenant: str, request: Request) -> Reply:
        self.discoveries += 1
        self._check_tenant(tenant)
        base = f"https://{request.host}/{tenant}"
        return json_reply(
            {
                "token_endpoint": f"{base}/oauth2/v2.0/token",
                "token_endpoint_auth_methods_supported": ["client_secret_post", "private_key_jwt"],
                "jwks_uri": f"{base}/discovery/v2.0/keys",
                "issuer": f"https://{request.host}/{self.identity.tenant_id}/v2.0",
                "authorization_endpoint": f"{base}/oauth2/v2.0/authorize",
                "device_authorization_endpoint": f"{base}/oauth2/v2.0/devicecode",
                "response_types_supported": ["code", "id_token"],
                "tenant_region_scope": "NA",
                "cloud_instance_name": request.host,
            },
            content_type=JSON,
        )

    def _token(self, tenant: str, request: Request, *, is_v2: bool) -> Reply:
        form = dict(parse_qsl(request.body.decode(errors="replace"), keep_blank_values=True))
        assertion = read_jwt(form.get("client_assertion", ""))
        credential = "assertion" if assertion else "secret" if form.get("client_secret") else "none"
        try:
            reply = self._grant(tenant, form, assertion, is_v2=is_v2)
        except Refusal as refusal:
            reply = refusal.reply
        scope = form.get("scope") or form.get("resource", "")
        self.requests.append(
            TokenRequest(
                time.monotonic(),
                tenant,
                form.get("client_id", ""),
                scope,
                credential,
                assertion,
                reply.status,
            )
        )
        return reply

    def _grant(
        self, tenant: str, form: Mapping[str, str], assertion: Mapping[str, Any], *, is_v2: bool
    ) -> Reply:
        client, scope = form.get("client_id", ""), form.get("scope", "")
        refuse = self._refusal(tenant=tenant, client=client, scope=scope)
        if forced := str(self._switches["entra.error"]):
            raise refuse(int(forced))
        if tenant.lower() in ("common", "organizations", "consumers"):
            raise refuse(9001023)
        self._check_tenant(tenant)
        if form.get("grant_type") != "client_credentials":
            raise refuse(70001)
        if client.lower() != self.identity.client_id:
            raise refuse(700016)
        self._check_credential(form, assertion, refuse)
        resource = _resource(scope, refuse) if is_v2 else form.get("resource", "")
        audience = self._audience(resource, refuse)
        return self._issue(audience, is_v2=is_v2)

    def _check_tenant(self, tenant: str) -> None:
        refuse = self._refusal(tenant=tenant)
        if tenant.lower() in (
            self.identity.tenant_id,
            self.identity.tenant_domain,
            "common",
            "organizations",
        ):
            return
        raise refuse(90002 if _TENANT.match(tenant) else 900023)

    def _check_credential(
        self, form: Mapping[str, str], assertion: Mapping[str, Any], refuse: Callable[[int], Refusal]
    ) -> None:
        if form.get("client_secret"):
            if form["client_secret"] != self.identity.client_secret:
                raise refuse(7000215)
            return
        if not form.get("client_assertion"):
            raise refuse(7000218)
        shown = {assertion.get("x5t"), assertion.get("x5t#S256")}
        if not assertion or form.get("client_assertion_type") != _ASSERTION_TYPE:
            raise refuse(700027)
        if self.thumbprints and not shown & self.thumbprints:
            raise refuse(700027)

    def _audience(self, resource: str, refuse: Callable[[int], Refusal]) -> str:
        """Return the audience of a token for `resource`: what was asked for, slash and case and all."""
        bare = resource.rstrip("/").lower()
        if bare not in (self._environment(), *_FIRST_PARTY):
            raise refuse(500011)
        return resource

    def _issue(self, audience: str, *, is_v2: bool) -> Reply:
        life = int(self._switches.number("entra.expires_in"))
        now = int(time.time())
        setup = self._switches["setup"]
        tenant = (
            self.identity.tenant_id if setup != "wrong-tenant" else "99999999-8888-4777-8666-555555555555"
        )
        claims = {
            "aud": audience if setup != "wrong-audience" else "https://erp.dynamics.com",
            "iss": f"https://sts.windows.net/{tenant}/",
            "iat": now,
            "nbf": now,
            "exp": now + life,
            "appid": self.identity.client_id,
            "appidacr": "1",
            "idtyp": "app",
            "oid": self.identity.object_id,
            "rh": _noise(self._rng, 60),
            "sub": self.identity.object_id,
            "tid": tenant,
            "uti": _noise(self._rng, 22),
            "ver": "1.0",
            "xms_ftd": _noise(self._rng, 500),  # genuine tokens are long
        }
        if setup == "missing-oid":
            del claims["oid"]
        text = write_jwt(claims)
        with self._lock:
            self._tokens[text] = Token(text, claims, time.monotonic() + life)
        if is_v2:
            answer: dict[str, Any] = {"token_type": "Bearer", "expires_in": life, "ext_expires_in": life}
        else:
            answer = {"token_type": "Bearer", "expires_in": str(life), "ext_expires_in": str(life)}
            answer |= {"expires_on": str(now + life), "not_before": str(now), "resource": audience}
        return json_reply({**answer, "access_token": text}, content_type=JSON)

    def _refusal(self, **words: str) -> Callable[[int], Refusal]:
        known = {
            "tenant": "",
            "client": "",
            "scope": "",
            "resource": words.get("scope", "").rpartition("/")[0],
        }
        return lambda code: Refusal(entra_error(code, self._rng, {**known, **words}))


def entra_error(code: int, rng: Random, words: Mapping[str, str]) -> Reply:
    """Return the answer that Entra gives for an AADSTS code."""
    row = ENTRA_ERRORS.get(code, EntraError("invalid_request", "An error of the sandbox's making."))
    stamp = f"{datetime.now(timezone.utc):%Y-%m-%d %H:%M:%SZ}"
    trace, correlation = (str(uuid.UUID(int=rng.getrandbits(128), version=4)) for _ in range(2))
    says = row.says.format(**words)
    body = {
        "error": row.error,
        "error_description": f"AADSTS{code}: {says} Trace ID: {trace} Correlation ID: {correlation} "
        f"Timestamp: {stamp}",
        "error_codes": [code],
        "timestamp": stamp,
        "trace_id": trace,
        "correlation_id": correlation,
        "error_uri": f"https://login.microsoftonline.com/error?code={code}",
    }
    return json_reply(body, status=row.status, content_type=JSON)


def _resource(scope: str, refuse: Callable[[int], Refusal]) -> str:
    wanted = scope.split()
    if len(wanted) > 1:
        raise refuse(700022)
    if not wanted or not wanted[0].endswith("/.default"):
        raise refuse(70011)
    return wanted[0].removesuffix("/.default")


def write_jwt(claims: Mapping[str, Any]) -> str:
    """Return claims in the shape of a signed token."""
    header = {"typ": "JWT", "alg": "HS256", "kid": "sandbox"}
    text = ".".join(_b64(json.dumps(part, separators=(",", ":")).encode()) for part in (header, claims))
    return f"{text}.{_b64(hmac.new(b'sandbox', text.encode(), hashlib.sha256).digest())}"


def read_jwt(text: str) -> dict[str, Any]:
    """Return header and claims of a token, merged and not verified; empty where it is none."""
    parts = text.split(".")
    try:
        both = [json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in parts[:2]]
    except ValueError:
        return {}
    return {name: value for part in both for name, value in part.items()} if len(both) > 1 else {}


def _noise(rng: Random, size: int) -> str:
    return _b64(rng.randbytes(size))


def _b64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
