"""From cause to remedy: what a person can do, where, and who that person is. One table, and look-ups in it.

A row is found by where the trouble arose and its code there. Codes and texts of Entra may change (facts
section 2.2), so a code only sharpens what `error` says already; each place has a row for codes not listed.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Where = Literal[
    "entra",
    "entra-error",
    "refusal",
    "no-answer",
    "answer",
    "change-store",
    "settings",
    "companies",
    "entities",
]
Who = Literal["you", "Entra administrator", "F&O system administrator"]

YOU: Who = "you"
ENTRA_ADMIN: Who = "Entra administrator"
FNO_ADMIN: Who = "F&O system administrator"

FNO_APPLICATIONS = "System administration > Setup > Microsoft Entra ID applications"
PRIORITIES = "System administration > Setup > Throttling priority mapping"
ORGANIZATIONS = "System administration > Users > Users > Assign organizations"
SECRETS = "Entra admin center > App registrations > your application > Certificates & secrets"
OVERVIEW = "Entra admin center > App registrations > your application > Overview"
ENTERPRISE_APPLICATIONS = "Entra admin center > Enterprise applications"
ERP = "Microsoft Dynamics ERP"
ERP_APPLICATION_ID = "00000015-0000-0000-c000-000000000000"

_FNO_DOCS = "https://learn.microsoft.com/dynamics365/fin-ops-core/dev-itpro/data-entities/"
SERVICES_DOCS = f"{_FNO_DOCS}services-home-page"
SIGN_IN_DOCS = f"{_FNO_DOCS}troubleshoot-service-authentication"
SECURITY_DOCS = f"{_FNO_DOCS}security-data-entities"
THROTTLING_DOCS = f"{_FNO_DOCS}priority-based-throttling"
ODATA_DOCS = f"{_FNO_DOCS}odata"
ENTRA_CODES = "https://learn.microsoft.com/entra/identity-platform/reference-error-codes"


@dataclass(frozen=True, slots=True)
class Remedy:
    """A cause in plain words, the next step, who can take it, and where to read on."""

    cause: str
    step: str
    who: Who = YOU
    link: str = ""

    def __str__(self) -> str:
        asked = "" if self.who == YOU else f" Who can do this: your {self.who}."
        return f"{self.cause} {self.step}{asked}"


_UNKNOWN_APPLICATION = Remedy(
    "The application is not known in this tenant.",
    f"Compare client_id and tenant_id with {OVERVIEW}; the application may be registered in another tenant.",
    link=ENTRA_CODES,
)
_DISABLED_APPLICATION = Remedy(
    "The application is disabled or unknown in this tenant.",
    f"Compare client_id and tenant_id; enable sign-in under {ENTERPRISE_APPLICATIONS} > your application > Properties.",
    ENTRA_ADMIN,
    ENTRA_CODES,
)
_MALFORMED_TENANT = Remedy(
    "The tenant is no GUID or domain.", f"Correct tenant_id; it is shown on {OVERVIEW}.", link=ENTRA_CODES
)
_OTHER_CLOUD = Remedy(
    "The tenant is in another national cloud.",
    "Set authority to that cloud's address, such as https://login.microsoftonline.us or https://login.partner.microsoftonline.cn.",
    link=ENTRA_CODES,
)
_UNKNOWN_ENVIRONMENT = Remedy(
    "Entra does not know this environment in the tenant.",
    f"Compare environment_url with the browser's address, and tenant_id with the tenant that owns the environment; under {ENTERPRISE_APPLICATIONS} "
    f"look for {ERP} (application id {ERP_APPLICATION_ID}), which must be there and enabled.",
    ENTRA_ADMIN,
    SERVICES_DOCS,
)
_BAD_SCOPE = Remedy(
    "The scope is not valid.",
    "Check environment_url: the scope is that address in lower case without a slash at its end, and /.default.",
    link=SIGN_IN_DOCS,
)
_CERTIFICATE_UNKNOWN = Remedy(
    "The certificate's signature is not accepted for this application.",
    f"Upload the public part of this very certificate under {SECRETS} > Certificates, and compare the thumbprints.",
    ENTRA_ADMIN,
    ENTRA_CODES,
)
_USER_WANTED = Remedy(
    "Entra looked for a user.",
    "Give the application's credentials: client_id with a secret, a certificate or a federated token; passwords of users are not used.",
    link=ENTRA_CODES,
)
_ENTRA_AWAY = Remedy(
    "Entra is not available for the moment.",
    "Try again later; if it lasts, look at Microsoft's service health page.",
    link=ENTRA_CODES,
)
_ENTRA_BUSY = Remedy(
    "Entra refuses more requests of this tenant for the moment.",
    "Try again later, and see what else in the tenant asks for many tokens.",
    ENTRA_ADMIN,
    ENTRA_CODES,
)

REMEDIES: Mapping[tuple[Where, int | str], Remedy] = MappingProxyType(
    {
        # Entra, by AADSTS code (facts section 2.2).
        ("entra", 7000215): Remedy(
            "The client secret is not the right one.",
            f"Paste the secret's Value (not its Secret ID) into client_secret; if it is lost, make a new one under {SECRETS}.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra", "secret-id"): Remedy(
            "client_secret looks like the secret's ID, not its Value.",
            f"Paste the Value; it is shown only once, so make a new secret under {SECRETS} if need be.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra", 7000222): Remedy(
            "The client secret has expired.",
            f"Make a new one under {SECRETS} and set client_secret to its Value.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra", 7000218): Remedy(
            "No credential reached Entra.",
            "Set client_secret, client_certificate or federated_token_file.",
            link=ENTRA_CODES,
        ),
        ("entra", 700016): _UNKNOWN_APPLICATION,
        ("entra", 700011): _UNKNOWN_APPLICATION,
        ("entra", 7000112): _DISABLED_APPLICATION,
        ("entra", 70001): _DISABLED_APPLICATION,
        ("entra", 90002): Remedy(
            "The tenant is not known at this authority.",
            f"Correct tenant_id (it is shown on {OVERVIEW}); for a national cloud set authority.",
            link=ENTRA_CODES,
        ),
        ("entra", 90023): _MALFORMED_TENANT,
        ("entra", 900023): _MALFORMED_TENANT,
        ("entra", 9001023): Remedy(
            "App-only tokens are issued by one tenant.",
            "Set tenant_id to your own tenant, not common.",
            link=ENTRA_CODES,
        ),
        ("entra", 90038): _OTHER_CLOUD,
        ("entra", 900382): _OTHER_CLOUD,
        ("entra", 900432): _OTHER_CLOUD,
        ("entra", 500011): _UNKNOWN_ENVIRONMENT,
        ("entra", 50001): Remedy(
            "The environment's resource is disabled or absent in the tenant.",
            f"Compare environment_url and tenant_id; under {ENTERPRISE_APPLICATIONS} look for {ERP} and enable it for users to sign in.",
            ENTRA_ADMIN,
            SERVICES_DOCS,
        ),
        ("entra", 650057): Remedy(
            "The resource is not in the application's list.",
            f"Under {ENTERPRISE_APPLICATIONS} look for {ERP}; app-only access itself needs no API permission.",
            ENTRA_ADMIN,
            SERVICES_DOCS,
        ),
        ("entra", 650052): Remedy(
            "The tenant has no subscription for Finance & Operations.",
            "Check tenant_id: it must be the tenant that owns the environment.",
            link=ENTRA_CODES,
        ),
        ("entra", 65001): Remedy(
            "Entra asks for a consent that app-only access does not need.",
            "Compare environment_url with the browser's address; report this if it was right.",
            link=SIGN_IN_DOCS,
        ),
        ("entra", 70011): _BAD_SCOPE,
        ("entra", 28002): _BAD_SCOPE,
        ("entra", 700022): Remedy(
            "Two resources stand in one scope.",
            "Use one environment for one configuration.",
            link=ENTRA_CODES,
        ),
        ("entra", 700027): _CERTIFICATE_UNKNOWN,
        ("entra", 700030): _CERTIFICATE_UNKNOWN,
        ("entra", 53003): Remedy(
            "Conditional Access blocks the application.",
            "Ask for an exception in the policy for workload identities, or run from a network location that it allows.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra", 50034): _USER_WANTED,
        ("entra", 50126): _USER_WANTED,
        ("entra", 90033): _ENTRA_AWAY,
        ("entra", 90006): _ENTRA_AWAY,
        ("entra", 90012): _ENTRA_AWAY,
        ("entra", 50000): _ENTRA_AWAY,
        ("entra", 90024): _ENTRA_BUSY,
        ("entra", 90055): _ENTRA_BUSY,
        # Entra, by `error`, for codes that are not listed above.
        ("entra-error", "invalid_client"): Remedy(
            "Entra does not accept the credential.", f"Renew it under {SECRETS}.", ENTRA_ADMIN, ENTRA_CODES
        ),
        ("entra-error", "unauthorized_client"): _UNKNOWN_APPLICATION,
        ("entra-error", "invalid_request"): Remedy(
            "Entra does not accept the request.", "Compare tenant_id and authority.", link=ENTRA_CODES
        ),
        ("entra-error", "invalid_tenant"): Remedy(
            "The tenant is not known at this authority.",
            "Correct tenant_id; for a national cloud set authority.",
            link=ENTRA_CODES,
        ),
        ("entra-error", "invalid_resource"): _UNKNOWN_ENVIRONMENT,
        ("entra-error", "invalid_grant"): Remedy(
            "Entra does not grant the application a token for this environment.",
            "Compare environment_url and tenant_id, and look at the tenant's policies for workload identities.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra-error", "invalid_scope"): _BAD_SCOPE,
        ("entra-error", "access_denied"): Remedy(
            "A policy of the tenant blocks the application.",
            "Look at Conditional Access for workload identities.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        ("entra-error", "temporarily_unavailable"): _ENTRA_AWAY,
        ("entra-error", "server_error"): _ENTRA_AWAY,
        ("entra-error", "credential"): Remedy(
            "The credential cannot be used as it is.",
            "Check client_certificate and client_certificate_password: PEM text, or a PEM or PFX file, with certificate and private key.",
        ),
        ("entra-error", "token-file"): Remedy(
            "The federated token cannot be read.",
            "Check federated_token_file: the workload's platform writes it and must keep it fresh.",
        ),
        ("entra-error", "not-entra"): Remedy(
            "Something else answered in Entra's place.",
            "Check authority, HTTPS_PROXY and NO_PROXY; a proxy's sign-in page is the usual one.",
        ),
        ("entra-error", ""): Remedy(
            "Entra refused the application.",
            "Look the AADSTS code up in Microsoft's list of Entra error codes.",
            ENTRA_ADMIN,
            ENTRA_CODES,
        ),
        # F&O refuses a token that Entra issued (facts section 2.3).
        ("refusal", "audience"): Remedy(
            "The token is for another address than the environment's.",
            "Set environment_url to the address that F&O itself shows in the browser.",
            link=SIGN_IN_DOCS,
        ),
        ("refusal", "tenant"): Remedy(
            "The token is from another tenant than the configured one.",
            "Set tenant_id to the tenant that owns the environment.",
            link=SIGN_IN_DOCS,
        ),
        ("refusal", "object"): Remedy(
            "The token names no service principal (it has no oid).",
            "The application is registered in another tenant: create its service principal in the environment's tenant "
            f"({ENTERPRISE_APPLICATIONS} > New application), or register an application there.",
            ENTRA_ADMIN,
            SIGN_IN_DOCS,
        ),
        ("refusal", "unregistered"): Remedy(
            "The token was issued, so tenant, client and secret are right, but F&O refuses it.",
            f"In order: (1) is this client id in {FNO_APPLICATIONS}; (2) is the user of that row enabled; (3) is "
            "environment_url the environment's own address?",
            FNO_ADMIN,
            SERVICES_DOCS,
        ),
        ("refusal", "redirect"): Remedy(
            "F&O sends the call to a sign-in page instead of answering it.",
            f"Look for this client id in {FNO_APPLICATIONS}; environments on premises sign in through AD FS (setting authority).",
            FNO_ADMIN,
            SIGN_IN_DOCS,
        ),
        ("refusal", "privilege"): Remedy(
            "The service user lacks the right to read this.",
            f"Give the user of the row in {FNO_APPLICATIONS} a role with a privilege for the entity (integration mode Data services), "
            "or the role System administrator.",
            FNO_ADMIN,
            SECURITY_DOCS,
        ),
        # No answer came.
        ("no-answer", "proxy"): Remedy(
            "The proxy did not let the call through.",
            "Check HTTPS_PROXY and NO_PROXY, and what the proxy allows.",
        ),
        ("no-answer", "ca-file"): Remedy(
            "The file of trusted certificates is not there.",
            "Correct REQUESTS_CA_BUNDLE (or CURL_CA_BUNDLE), or unset it.",
        ),
        ("no-answer", "untrusted"): Remedy(
            "The server's certificate is not trusted.",
            "Check environment_url (or authority); if your company inspects TLS, set REQUESTS_CA_BUNDLE to its CA certificate.",
        ),
        ("no-answer", "tls"): Remedy(
            "The TLS connection failed.",
            "Check proxies and firewalls: F&O wants TLS 1.2 or later; if your company inspects TLS, set REQUESTS_CA_BUNDLE.",
        ),
        ("no-answer", "name"): Remedy(
            "The host name was not found.", "Check environment_url (or authority), DNS and VPN."
        ),
        ("no-answer", "time-out"): Remedy(
            "No answer came in time.", "Check the network; for slow entities raise request_timeout_seconds."
        ),
        ("no-answer", "refused"): Remedy(
            "The connection was refused.",
            "Check that the environment runs and that no firewall is in between.",
        ),
        ("no-answer", "cut"): Remedy(
            "The connection was cut off.",
            "This is usually passing; if it lasts, check proxies and firewalls.",
        ),
        # F&O answered, but not with what was asked for (facts sections 6 and 7.2).
        ("answer", "throttled"): Remedy(
            "F&O is busy and asks for fewer requests.",
            f"Raise the application's priority under {PRIORITIES}, lower max_parallel_requests, or run at a quieter hour.",
            FNO_ADMIN,
            THROTTLING_DOCS,
        ),
        ("answer", "slow"): Remedy(
            "F&O or a gateway before it gave up on the page.",
            "Smaller pages are tried by themselves; if it lasts, lower page_size or select fewer columns.",
        ),
        ("answer", "unavailable"): Remedy(
            "F&O is not available.",
            "This is usually passing (a restart, a deployment, maintenance); if it lasts, look at the environment in Lifecycle Services.",
            FNO_ADMIN,
        ),
        ("answer", "unreadable"): Remedy(
            "F&O fails on data of this entity.",
            "Repair the row, or set entity_options.<entity>.skip_unreadable_rows to leave such rows out.",
            FNO_ADMIN,
        ),
        ("answer", "broken"): Remedy(
            "The answer was not what was asked for.",
            "This is usually passing; if it lasts, a proxy or gateway is changing answers.",
        ),
        ("answer", "missing"): Remedy(
            "The environment has no such entity set.",
            "Run discovery again: the entity may have been renamed or removed, or is not public.",
            link=ODATA_DOCS,
        ),
        ("answer", "too-long"): Remedy(
            "A gateway finds the query too long.",
            "Select fewer columns or shorten entity_options.<entity>.filter.",
        ),
        ("answer", "rejected"): Remedy(
            "F&O does not take the query.",
            "Check entity_options.<entity>.filter and the catalog; run discovery again if the environment was updated.",
            link=ODATA_DOCS,
        ),
        # What change sweeps remember.
        ("change-store", "unusable"): Remedy(
            "The change store cannot be read or written.",
            "Check the setting change_store, its rights, and its package (s3fs, adlfs, gcsfs) where it is a URL.",
        ),
        ("change-store", "foreign"): Remedy(
            "The change store belongs to another environment.",
            "Use a change_store of its own for each environment.",
        ),
        ("change-store", "in-use"): Remedy(
            "Another run uses the change store.",
            "Let that run end; one run at a time may use a change_store.",
        ),
        ("change-store", "newer"): Remedy(
            "The change store was written by a newer version.",
            "Upgrade the connector, or use another change_store.",
        ),
        # What a look at the set-up finds beside errors.
        ("settings", "incomplete"): Remedy(
            "The settings are not complete or contradict each other.",
            "Correct the settings named here; sample_config.json shows the four credentials that every set-up needs.",
        ),
        ("settings", "odd"): Remedy(
            "A setting may be a slip.",
            f"Compare it with {OVERVIEW} and with the names in the README's table.",
        ),
        ("companies", "out-of-sight"): Remedy(
            "The service user does not see a configured company.",
            f"Correct the setting companies, or give the user rights in them ({ORGANIZATIONS}).",
            FNO_ADMIN,
        ),
        ("companies", "none"): Remedy(
            "The service user sees no legal entity.",
            f"Give the user of the row in {FNO_APPLICATIONS} rights in the companies to read ({ORGANIZATIONS}).",
            FNO_ADMIN,
        ),
        ("companies", "without-rows"): Remedy(
            "Some legal entities show the service user no rows.",
            f"If they should hold any, give the user rights in them ({ORGANIZATIONS}); F&O leaves rows out without a word.",
            FNO_ADMIN,
        ),
        ("companies", "unlisted"): Remedy(
            "The list of legal entities cannot be read.",
            "Give the service user the right to read LegalEntities; without it, companies are not read side by side.",
            FNO_ADMIN,
        ),
        ("entities", "none-selected"): Remedy(
            "No entity is selected.",
            "Name entities in the setting entities; `d365fo entities` lists what there is.",
        ),
        ("entities", "unknown"): Remedy(
            "An entity is named that the environment does not offer.",
            "Look for its name with `d365fo entities PATTERN`; what is not public in F&O has no entity set.",
        ),
        ("entities", "version"): Remedy(
            "The application's version cannot be asked for.",
            "Nothing else depends on it. To see it, give the service user the right to DataManagementEntities.",
            FNO_ADMIN,
        ),
    }
)

FALLBACKS: Mapping[Where, tuple[Where, int | str]] = MappingProxyType(
    {
        "entra": ("entra-error", ""),
        "entra-error": ("entra-error", ""),
        "refusal": ("refusal", "unregistered"),
        "no-answer": ("no-answer", "cut"),
        "answer": ("answer", "unavailable"),
        "change-store": ("change-store", "unusable"),
        "settings": ("settings", "incomplete"),
        "companies": ("companies", "out-of-sight"),
        "entities": ("entities", "unknown"),
    }
)
"""The row that stands for codes that a place has none for."""

SIGN_IN_STEPS = ("tenant", "application", "credential", "resource")
"""What Entra looks at before it gives out a token, in its order."""

_STEPS_BY_ERROR: Mapping[str, str] = MappingProxyType(
    {
        "invalid_client": "credential",
        "unauthorized_client": "application",
        "invalid_request": "tenant",
        "invalid_tenant": "tenant",
        "invalid_resource": "resource",
        "invalid_scope": "resource",
        "invalid_grant": "resource",
        "access_denied": "application",
        "credential": "credential",
    }
)
_STEPS_WITHOUT_ERROR: Mapping[int, str] = MappingProxyType(
    {
        **dict.fromkeys((90002, 90023, 900023, 9001023, 90038, 900382, 900432), "tenant"),
        **dict.fromkeys((700016, 700011, 7000112, 70001), "application"),
        **dict.fromkeys((500011, 50001, 650057, 65001, 70011, 28002, 700022), "resource"),
    }
)
"""What the code says where `error` says nothing that is known."""
_STEPS_BY_CODE: Mapping[int, str] = MappingProxyType(
    {650052: "resource", 53003: "application", 50034: "credential", 50126: "credential"}
)
"""Where the code knows better than `error`."""

_NO_ANSWER_SIGNS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("proxy", ("proxyerror", "tunnel connection failed", "invalidproxyurl")),
    ("ca-file", ("certificate bundle", "invalid path: ")),
    ("untrusted", ("certificate_verify_failed", "certificate verify failed")),
    ("tls", ("ssl", "certificate")),
    ("name", ("gaierror", "nameresolution", "name or service not known")),
    ("time-out", ("timeout", "timed out", "dripping")),
    ("refused", ("connectionrefused", "refused")),
)
"""By what the errors of three libraries call themselves; the first that fits, in this order."""


def find(where: Where, *codes: int | str) -> Remedy:
    """Return the remedy of the first code that is known, else the one for the place."""
    known = (REMEDIES[where, code] for code in codes if (where, code) in REMEDIES)
    return next(known, REMEDIES[FALLBACKS[where]])


def next_step(remedy: Remedy) -> str:
    """Return what to do and who can do it, where the cause was told already."""
    return str(remedy).removeprefix(f"{remedy.cause} ")


def for_entra(code: int, error: str, *, secret_looks_like_id: bool = False) -> Remedy:
    """Return what to do about a refusal of Entra."""
    if code == 7000215 and secret_looks_like_id:  # noqa: PLR2004
        return find("entra", "secret-id")
    return REMEDIES.get(("entra", code)) or find("entra-error", error)


def step_of_refusal(code: int | None, error: str) -> str:
    """Return the one of SIGN_IN_STEPS at which Entra said no."""
    number = code or 0
    return (
        _STEPS_BY_CODE.get(number)
        or _STEPS_BY_ERROR.get(error)
        or _STEPS_WITHOUT_ERROR.get(number, "credential")
    )


def cause_of_refusal(
    status: int,
    claims: Mapping[str, Any],
    *,
    environment_url: str,
    tenant_id: str,
    others_granted: bool = False,
) -> str:
    """Return the code of why F&O refused a token, as far as the token's claims and other answers tell.

    `others_granted` says that F&O answered other requests of this application: then it knows the
    application, and what is missing is a privilege (facts section 2.3).
    """
    if 300 <= status < 400:  # noqa: PLR2004
        return "redirect"
    if status == 403 or others_granted:  # noqa: PLR2004
        return "privilege"
    audience = str(claims.get("aud", environment_url)).rstrip("/").lower()
    if audience != environment_url.lower():
        return "audience"
    tenant = str(claims.get("tid", ""))
    if tenant and len(tenant_id) == len(tenant) and tenant.lower() != tenant_id.lower():
        return "tenant"  # a tenant_id that is a domain cannot be compared
    if claims and not claims.get("oid"):
        return "object"
    return "unregistered"


def for_refusal(cause: str) -> str:
    """Return what to do about a refusal of F&O."""
    remedy = find("refusal", cause)
    if cause != "privilege":
        return str(remedy)
    return f"{remedy} If every entity is refused: {find('refusal', 'unregistered').step}"


def kind_of_no_answer(exc: BaseException, root: BaseException) -> str:
    """Return the code of why no answer came, from the names of the error and of its root."""
    names = f"{type(exc).__name__} {type(root).__name__} {root}".lower()
    return next((kind for kind, signs in _NO_ANSWER_SIGNS if any(sign in names for sign in signs)), "cut")


def root_of(exc: BaseException) -> BaseException:
    """Return the innermost cause of an error, through what three libraries put around it."""
    root, seen = exc, {id(exc)}
    while True:
        inner = root.__cause__ or root.__context__ or getattr(root, "reason", None)
        if not isinstance(inner, BaseException) or id(inner) in seen:
            return root
        root = inner
        seen.add(id(inner))
