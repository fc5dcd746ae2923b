"""From cause to remedy: what a person can do, where, and who that person is. Data, and look-ups in it.

Codes and texts of Entra may change (facts section 2.2), so a code only sharpens what `error` says already.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

YOU = "you"
ENTRA_ADMIN = "Entra administrator"
FNO_ADMIN = "F&O system administrator"

FNO_APPLICATIONS = "System administration > Setup > Microsoft Entra ID applications"
APP_REGISTRATION = "Entra admin center > App registrations > your application > Certificates & secrets"
ENTERPRISE_APPLICATIONS = "Entra admin center > Enterprise applications"
ERP = "Microsoft Dynamics ERP"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A cause in plain words, the next step, and who can take it."""

    cause: str
    step: str
    who: str = YOU

    def __str__(self) -> str:
        return f"{self.cause} {self.step}"


ENTRA: Mapping[int, Remedy] = MappingProxyType(
    {
        7000215: Remedy(
            "The client secret is not the right one.",
            f"Paste the secret's Value (not its Secret ID) into client_secret; if it is lost, make a new one under {APP_REGISTRATION}.",
            ENTRA_ADMIN,
        ),
        7000222: Remedy(
            "The client secret has expired.",
            f"Make a new one under {APP_REGISTRATION} and set client_secret.",
            ENTRA_ADMIN,
        ),
        7000218: Remedy(
            "No credential reached Entra.", "Set client_secret, client_certificate or federated_token_file."
        ),
        700016: Remedy(
            "The application is not known in this tenant.",
            "Compare client_id and tenant_id with the overview page of the app registration.",
        ),
        700011: Remedy(
            "The application is not known in this directory.",
            "Compare client_id and tenant_id with the overview page of the app registration.",
        ),
        7000112: Remedy(
            "The application is disabled.",
            f"Enable sign-in for it under {ENTERPRISE_APPLICATIONS} > your application > Properties.",
            ENTRA_ADMIN,
        ),
        70001: Remedy(
            "The application is unknown or disabled in this tenant.",
            f"Compare client_id and tenant_id; enable sign-in under {ENTERPRISE_APPLICATIONS} > your application > Properties.",
            ENTRA_ADMIN,
        ),
        90002: Remedy(
            "The tenant is not known at this authority.",
            "Correct tenant_id; for a national cloud set authority.",
        ),
        90023: Remedy("The tenant is no GUID or domain.", "Correct tenant_id."),
        900023: Remedy("The tenant is no GUID or domain.", "Correct tenant_id."),
        9001023: Remedy(
            "App-only tokens are issued by one tenant.", "Set tenant_id to your own tenant, not common."
        ),
        90038: Remedy("The tenant is in another national cloud.", "Set authority to that cloud's address."),
        900382: Remedy("The tenant is in another national cloud.", "Set authority to that cloud's address."),
        900432: Remedy("The tenant is in another national cloud.", "Set authority to that cloud's address."),
        500011: Remedy(
            "Entra does not know this environment in the tenant.",
            f"Compare environment_url with the browser's address and check tenant_id; under {ENTERPRISE_APPLICATIONS} "
            f"look for {ERP} (application id 00000015-0000-0000-c000-000000000000), which must be there and enabled.",
            ENTRA_ADMIN,
        ),
        50001: Remedy(
            "The environment's resource is disabled or absent in the tenant.",
            f"Under {ENTERPRISE_APPLICATIONS} enable {ERP} for users to sign in.",
            ENTRA_ADMIN,
        ),
        650057: Remedy(
            "The resource is not in the application's list.",
            f"Under {ENTERPRISE_APPLICATIONS} look for {ERP}; app-only access needs no API permission.",
            ENTRA_ADMIN,
        ),
        650052: Remedy(
            "The tenant has no subscription for Finance & Operations.",
            "Check tenant_id: it must be the tenant that owns the environment.",
        ),
        65001: Remedy(
            "Entra asks for a consent that app-only access does not need.",
            "Check environment_url for a trailing slash or upper case that reached the scope; report this if it did.",
        ),
        70011: Remedy(
            "The scope is not valid.", "Check environment_url: the scope is that address and /.default."
        ),
        28002: Remedy(
            "The scope is not valid.", "Check environment_url: the scope is that address and /.default."
        ),
        700022: Remedy("Two resources in one scope.", "Use one environment for one configuration."),
        700027: Remedy(
            "The certificate's signature is not accepted.",
            f"Upload this certificate's public part under {APP_REGISTRATION} > Certificates.",
            ENTRA_ADMIN,
        ),
        700030: Remedy(
            "The certificate is not valid for this application.",
            f"Upload this certificate's public part under {APP_REGISTRATION} > Certificates.",
            ENTRA_ADMIN,
        ),
        53003: Remedy(
            "Conditional Access blocks the application.",
            "Ask for an exception in the workload identity policy, or run from an allowed network location.",
            ENTRA_ADMIN,
        ),
        50034: Remedy(
            "Entra looked for a user.", "Use the application's credentials; passwords are not used."
        ),
        50126: Remedy(
            "Entra looked for a user.", "Use the application's credentials; passwords are not used."
        ),
        90033: Remedy("Entra is not available for the moment.", "Try again later."),
        90006: Remedy("Entra is not available for the moment.", "Try again later."),
        90012: Remedy("Entra is not available for the moment.", "Try again later."),
        90024: Remedy("Entra is busy for this tenant.", "Try again later."),
        90055: Remedy("Entra refuses too many requests of this tenant.", "Try again later."),
        50000: Remedy("Entra had trouble issuing the token.", "Try again later."),
    }
)
"""By AADSTS code (facts section 2.2)."""

ENTRA_ERRORS: Mapping[str, Remedy] = MappingProxyType(
    {
        "invalid_client": Remedy(
            "Entra does not accept the credential.", f"Renew it under {APP_REGISTRATION}.", ENTRA_ADMIN
        ),
        "unauthorized_client": Remedy(
            "Entra does not accept the application.", "Compare client_id and tenant_id."
        ),
        "invalid_request": Remedy("Entra does not accept the request.", "Compare tenant_id and authority."),
        "invalid_resource": Remedy(
            "Entra does not know the environment.",
            f"Compare environment_url and tenant_id; look for {ERP} under {ENTERPRISE_APPLICATIONS}.",
        ),
        "invalid_scope": Remedy("Entra does not accept the scope.", "Check environment_url."),
        "access_denied": Remedy(
            "A policy of the tenant blocks the application.", "Ask the tenant's administrator.", ENTRA_ADMIN
        ),
    }
)
"""By `error`, where the code is not known."""

SECRET_ID_PASTED = Remedy(
    "client_secret looks like the secret's ID, not its Value.",
    f"Paste the Value; it is shown only once, so make a new secret under {APP_REGISTRATION} if need be.",
    ENTRA_ADMIN,
)

REFUSALS: Mapping[str, Remedy] = MappingProxyType(
    {
        "audience": Remedy(
            "The token is for another address than the environment's.",
            "Set environment_url to the address that F&O itself shows in the browser.",
        ),
        "tenant": Remedy(
            "The token is from another tenant than the one configured.",
            "Set tenant_id to the tenant that owns the environment.",
        ),
        "object": Remedy(
            "The token names no service principal (no oid).",
            "The application is registered in another tenant: create its service principal in this one "
            f"({ENTERPRISE_APPLICATIONS} > New application), or register it here.",
            ENTRA_ADMIN,
        ),
        "unregistered": Remedy(
            "The token was issued, so tenant, client and secret are right, but F&O refuses it.",
            f"In order: (1) is this client id in {FNO_APPLICATIONS}; (2) is the user of that row enabled; (3) does "
            "environment_url equal the environment's own address?",
            FNO_ADMIN,
        ),
        "redirect": Remedy(
            "F&O sends the call to a sign-in page instead of answering it.",
            f"Look at {FNO_APPLICATIONS} for this client id; on-premises environments sign in through AD FS.",
            FNO_ADMIN,
        ),
        "privilege": Remedy(
            "The service user lacks the right to read this.",
            "Give its role a privilege for the entity with integration mode Data services, or the role System administrator.",
            FNO_ADMIN,
        ),
    }
)
"""Why F&O refuses a token that Entra issued (facts section 2.3)."""

NO_ANSWER: Mapping[str, tuple[str, Remedy]] = MappingProxyType(
    {
        "proxy": ("the proxy did not let the call through", Remedy("", "Check HTTPS_PROXY and NO_PROXY.")),
        "tls": (
            "the TLS connection failed",
            Remedy("", "If your company inspects TLS, set REQUESTS_CA_BUNDLE to its CA certificate."),
        ),
        "name": (
            "the host name was not found",
            Remedy("", "Check environment_url (or authority), DNS and VPN."),
        ),
        "time-out": (
            "no answer came in time",
            Remedy("", "Check the network; for slow entities raise request_timeout_seconds."),
        ),
        "refused": (
            "the connection was refused",
            Remedy("", "Check that the environment runs and that no firewall is in between."),
        ),
        "cut": (
            "the connection was cut off",
            Remedy("", "This is usually passing; if it lasts, check proxies and firewalls."),
        ),
    }
)
"""Why no answer came: kind -> (in words, remedy)."""

THROTTLED = (
    "Raise the application's priority under System administration > Setup > Throttling priority mapping, lower "
    "max_parallel_requests, or run at a quieter hour."
)
SLOW = "Smaller pages are tried by themselves; if it lasts, lower page_size or select fewer columns."
UNAVAILABLE = "This is usually passing (a restart, a deployment, maintenance); if it lasts, look at the environment in Lifecycle Services."
UNREADABLE = (
    "F&O fails on data of this entity. Repair the row, or set entity_options.<entity>.skip_unreadable_rows to leave "
    "such rows out."
)
BROKEN = "This is usually passing; if it lasts, a proxy or gateway is changing answers."
NO_ENTITY_SET = "Run discovery again: the entity may have been renamed or removed, or is not public."
TOO_LONG = "Select fewer columns or shorten entity_options.<entity>.filter."
REJECTED = "Check entity_options.<entity>.filter and the catalog; run discovery again if the environment was updated."
ENTRA_UNAVAILABLE = "Entra has trouble for the moment; try again later."
ENTRA_UNREACHABLE = (
    "Check authority, the network, and HTTPS_PROXY; a proxy may be answering in Entra's place."
)
BAD_CREDENTIAL = "Check client_certificate and client_certificate_password: PEM text or a PEM or PFX file with its private key."


def for_entra(code: int, error: str, *, secret_looks_like_id: bool = False) -> str:
    """Return what to do about a refusal of Entra."""
    if code == 7000215 and secret_looks_like_id:  # noqa: PLR2004
        return str(SECRET_ID_PASTED)
    remedy = ENTRA.get(code) or ENTRA_ERRORS.get(error)
    return str(remedy) if remedy else "Look the AADSTS code up in Microsoft's list of Entra error codes."


def cause_of_refusal(status: int, claims: Mapping[str, Any], config: Any) -> str:
    """Return the key in `REFUSALS` of why F&O refused a token, as far as its claims tell."""
    if 300 <= status < 400:  # noqa: PLR2004
        return "redirect"
    audience = str(claims.get("aud", config.environment_url)).rstrip("/").lower()
    if claims and audience != config.environment_url.lower():
        return "audience"
    tenant = str(claims.get("tid", ""))
    if tenant and len(config.tenant_id) == len(tenant) and tenant.lower() != config.tenant_id.lower():
        return "tenant"
    if claims and not claims.get("oid"):
        return "object"
    return "privilege" if status == 403 else "unregistered"  # noqa: PLR2004


def for_refusal(status: int, claims: Mapping[str, Any], config: Any) -> str:
    """Return what to do about a refusal of F&O."""
    cause = cause_of_refusal(status, claims, config)
    if cause == "privilege":
        return f"{REFUSALS['privilege']} If every entity is refused: {REFUSALS['unregistered'].step}"
    return str(REFUSALS[cause])


def for_no_answer(exc: BaseException, root: BaseException) -> tuple[str, str]:
    """Return why no answer came, and what to do, from the names of the errors and their root."""
    names = f"{type(exc).__name__} {type(root).__name__} {root}".lower()
    signs = (
        ("proxy", ("proxyerror", "tunnel connection failed")),
        ("tls", ("ssl", "certificate")),
        ("name", ("gaierror", "nameresolution", "name or service not known")),
        ("time-out", ("timeout", "timed out", "dripping")),
        ("refused", ("connectionrefused", "refused")),
    )
    kind = next((kind for kind, words in signs if any(word in names for word in words)), "cut")
    words, remedy = NO_ANSWER[kind]
    return words, remedy.step
