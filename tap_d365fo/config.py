"""The settings, declared once; a user's settings as frozen values.

`SETTINGS` is the one declaration: the Singer schema, the Airbyte form, `meltano.yml` and the README's table
come from it or are tested against it. `Config.from_mapping` reads what a user gave, names every problem at
once, and derives what the rest of the house needs.
"""

from __future__ import annotations

import difflib
import json
import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tap_d365fo.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

METHODS = ("timestamp", "sequence", "sweep", "full", "package")
ENTITY_OPTIONS = ("method", "replication_key", "filter", "data_project", "skip_unreadable_rows")
DEFAULT_AUTHORITY = "https://login.microsoftonline.com"

_PEM = "-----BEGIN"
_HTTPS_PORT = 443
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_DOMAIN = re.compile(rf"{_LABEL}(\.{_LABEL})+")
_HOST = re.compile(rf"{_LABEL}(\.{_LABEL})*|\[[0-9a-f:.]+\]")
_NAMESPACE = re.compile(r"/namespaces/[a-z0-9_.{}-]+(?=/|$)")
"""What stands between host and `/data` on premises, and in stand-alone Human Resources."""
_WHOLE = re.compile(r"[+-]?[0-9]{1,18}")
_MOMENT = re.compile(
    r"(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2})"
    r"([Tt ](?P<time>[0-9]{2}:[0-9]{2}(:[0-9]{2})?)(\.(?P<fraction>[0-9]+))?)?"
    r"\s?(?P<offset>[Zz]|[+-][0-9]{2}(:?[0-9]{2})?)?"
)
"""A date or date-time as schedulers, forms and people write it; every Python reads it alike."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting as every door shows it."""

    name: str
    kind: str
    """`string`, `integer`, `boolean`, `date-time`, `strings` or `object`."""
    title: str
    description: str
    default: Any = None
    required: bool = False
    secret: bool = False
    minimum: int | None = None
    maximum: int | None = None
    choices: tuple[str, ...] = ()
    examples: tuple[Any, ...] = ()
    group: str = "Connection"


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "environment_url",
        "string",
        "Environment URL",
        "The address of your Finance & Operations environment, as you paste it from the browser.",
        required=True,
        examples=("https://contoso.operations.dynamics.com",),
    ),
    Setting(
        "tenant_id",
        "string",
        "Tenant",
        "The Microsoft Entra tenant of your environment: its GUID or a verified domain.",
        required=True,
        examples=("contoso.onmicrosoft.com",),
    ),
    Setting(
        "client_id",
        "string",
        "Application (client) id",
        "The application id of your app registration, which is also entered in Finance & Operations.",
        required=True,
    ),
    Setting(
        "client_secret",
        "string",
        "Client secret",
        "The value (not the id) of your client secret; required unless you give another credential.",
        secret=True,
        group="Credential",
    ),
    Setting(
        "client_certificate",
        "string",
        "Client certificate",
        "Your certificate with its private key instead of a secret: PEM text, or the path of a PEM or PFX file.",
        secret=True,
        group="Credential",
    ),
    Setting(
        "client_certificate_password",
        "string",
        "Certificate password",
        "The password of your certificate's private key, if it has one.",
        secret=True,
        group="Credential",
    ),
    Setting(
        "federated_token_file",
        "string",
        "Federated token file",
        "The path of your OIDC token file: workload identity federation instead of a secret.",
        group="Credential",
    ),
    Setting(
        "authority",
        "string",
        "Entra authority",
        "The host of Microsoft Entra; you change it for a sovereign cloud only.",
        default=DEFAULT_AUTHORITY,
        examples=("https://login.microsoftonline.us",),
    ),
    Setting(
        "entities",
        "strings",
        "Entities",
        "The entities you want, as names or glob patterns of any of their four names (entity set, type, AOT name, "
        "label); they narrow discovery and are selected by default.",
        default=(),
        examples=(["CustomersV3", "SalesOrder*"],),
        group="What to read",
    ),
    Setting(
        "companies",
        "strings",
        "Companies",
        "The legal entities you want to read; leave it empty for all that the service user sees.",
        default=(),
        examples=(["usmf", "dat"],),
        group="What to read",
    ),
    Setting(
        "start_date",
        "date-time",
        "Start date",
        "From when on you want time-stamp incremental streams that have no bookmark yet.",
        group="What to read",
    ),
    Setting(
        "lookback_seconds",
        "integer",
        "Look-back",
        "How many seconds before a bookmark you want to read again, for rows that were committed late.",
        default=600,
        minimum=0,
        group="What to read",
    ),
    Setting(
        "page_size",
        "integer",
        "Page size",
        "The most rows you want in one page; wide entities are asked for in fewer, so that a page stays near "
        "16 MiB.",
        default=10000,
        minimum=1,
        maximum=10000,
        group="Pace",
    ),
    Setting(
        "max_parallel_requests",
        "integer",
        "Parallel requests",
        "The most requests in flight to your environment at once, all streams together.",
        default=8,
        minimum=1,
        maximum=52,
        group="Pace",
    ),
    Setting(
        "request_timeout_seconds",
        "integer",
        "Request time-out",
        "How many seconds you give one request before it counts as lost.",
        default=300,
        minimum=1,
        group="Pace",
    ),
    Setting(
        "retry_budget_seconds",
        "integer",
        "Retry budget",
        "How many seconds you let one request be retried, throttling waits included, before its stream fails.",
        default=3600,
        minimum=0,
        group="Pace",
    ),
    Setting(
        "null_dates",
        "boolean",
        "Empty dates as null",
        "Whether you want the empty date (1900-01-01) as null; key columns keep it.",
        default=True,
        group="Values",
    ),
    Setting(
        "include_binary",
        "boolean",
        "Binary columns",
        "Whether you want binary columns (pictures, file contents) selected by default.",
        default=False,
        group="Values",
    ),
    Setting(
        "decimals",
        "string",
        "Decimals",
        "How you want decimals: exact JSON numbers, or strings for destinations that read numbers as doubles.",
        default="number",
        choices=("number", "string"),
        group="Values",
    ),
    Setting(
        "change_store",
        "string",
        "Change store",
        "A folder or fsspec URL where change sweeps remember row versions; it gives you sweeps, and with them "
        "changes and deletes of entities that have no time stamp.",
        examples=("/var/lib/tap-d365fo", "s3://bucket/fno"),
        group="What to read",
    ),
    Setting(
        "entity_options",
        "object",
        "Entity options",
        "What you want of single entities: method (timestamp, sequence, sweep, full), replication_key, filter (an "
        "OData $filter), skip_unreadable_rows.",
        default=MappingProxyType({}),
        examples=({"CustomersV3": {"method": "full", "filter": "CustomerGroupId eq '10'"}},),
        group="What to read",
    ),
    Setting(
        "metrics_file",
        "string",
        "Metrics file",
        "The path of a file to which you want the run's figures written as OpenMetrics text.",
        group="Pace",
    ),
)

_SCHEMAS: Mapping[str, dict[str, Any]] = MappingProxyType(
    {
        "string": {"type": ["string", "null"]},
        "integer": {"type": ["integer", "null"]},
        "boolean": {"type": ["boolean", "null"]},
        "date-time": {"type": ["string", "null"], "format": "date-time"},
        "strings": {"type": ["array", "null"], "items": {"type": "string"}},
        "object": {"type": ["object", "null"]},
    }
)


def config_jsonschema() -> dict[str, Any]:
    """Return the settings as the JSON Schema that Singer's command line shows and checks."""
    return {
        "type": "object",
        "properties": {setting.name: _schema(setting) for setting in SETTINGS},
        "required": [setting.name for setting in SETTINGS if setting.required],
    }


def _schema(setting: Setting) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(json.dumps(_SCHEMAS[setting.kind]))
    if setting.required:
        schema["type"] = [schema["type"][0]]
    schema |= {"title": setting.title, "description": setting.description}
    if setting.default is not None:
        schema["default"] = json.loads(json.dumps(setting.default, default=_plain))
    limits = {"minimum": setting.minimum, "maximum": setting.maximum}
    schema |= {name: limit for name, limit in limits.items() if limit is not None}
    if setting.choices:
        schema["enum"] = [*setting.choices, None]
    if setting.examples:
        schema["examples"] = list(setting.examples)
    if setting.secret:
        schema |= {"secret": True, "writeOnly": True}
    return schema


def _plain(value: Any) -> Any:
    return dict(value)


@dataclass(frozen=True, slots=True)
class Credentials:
    """The one credential of the application; it prints as its kind, never as itself."""

    secret: str | None = field(default=None, repr=False)
    certificate: str | None = field(default=None, repr=False)
    """PEM text, or the path of a PEM or PFX file."""
    certificate_password: str | None = field(default=None, repr=False)
    federated_token_file: str | None = None

    @property
    def kind(self) -> str:
        """The credential's kind in words."""
        if self.secret:
            return "client secret"
        return "client certificate" if self.certificate else "federated token"

    def __repr__(self) -> str:
        return f"Credentials({self.kind})"


@dataclass(frozen=True, slots=True)
class EntityOptions:
    """What the user wants of one entity."""

    method: str | None = None
    replication_key: str | None = None
    filter: str | None = None
    data_project: str | None = None
    skip_unreadable_rows: bool = False


@dataclass(frozen=True, slots=True)
class Config:
    """Settings that can be used: complete, of the right kinds, and not at odds with each other."""

    environment_url: str
    tenant_id: str
    client_id: str
    credentials: Credentials
    authority: str = DEFAULT_AUTHORITY
    entities: tuple[str, ...] = ()
    companies: tuple[str, ...] = ()
    start_date: datetime | None = None
    lookback_seconds: int = 600
    page_size: int = 10000
    max_parallel_requests: int = 8
    request_timeout_seconds: int = 300
    retry_budget_seconds: int = 3600
    null_dates: bool = True
    include_binary: bool = False
    decimals: str = "number"
    change_store: str | None = None
    entity_options: Mapping[str, EntityOptions] = field(default_factory=lambda: MappingProxyType({}))
    metrics_file: str | None = None
    notices: tuple[str, ...] = ()
    """What a door should log: how a pasted value was read."""

    @property
    def scope(self) -> str:
        """The scope of a token for this environment."""
        return f"{self.environment_url}/.default"

    @property
    def service_root(self) -> str:
        """The root of the OData service."""
        return f"{self.environment_url}/data"

    def options_for(self, entity_set: str) -> EntityOptions:
        """Return the options of an entity set, empty ones where there are none."""
        wanted = entity_set.casefold()
        found = (options for name, options in self.entity_options.items() if name.casefold() == wanted)
        return next(found, _NO_OPTIONS)

    @classmethod
    def from_mapping(cls, settings: Mapping[str, Any]) -> Config:
        """Read settings; raises ConfigurationError naming all that is wrong with them."""
        problems: list[str] = []
        notices: list[str] = []
        values = {setting.name: _value(setting, settings.get(setting.name), problems) for setting in SETTINGS}
        values["environment_url"] = _environment_url(values["environment_url"], problems, notices)
        credential = {name: values.pop(name) for name in _CREDENTIAL_SETTINGS}
        empty = [
            name for name in _CREDENTIAL_SETTINGS if settings.get(name) is not None and not credential[name]
        ]
        values["credentials"] = _credentials(credential, empty, problems)
        values["tenant_id"] = _tenant(values["tenant_id"], problems)
        values["authority"] = _authority(values["authority"], problems, notices)
        values["start_date"] = _start_date(values["start_date"], problems)
        values["companies"] = tuple(dict.fromkeys(each.lower() for each in values["companies"]))
        values["entity_options"] = _entity_options(values["entity_options"], problems)
        if problems:
            raise ConfigurationError(problems)
        _notice_oddities(values["client_id"], settings, notices)
        return cls(notices=tuple(notices), **values)


_NO_OPTIONS = EntityOptions()
_KEPT_AS_GIVEN = ("client_certificate_password",)
"""A password may begin or end with a blank; nothing else that is set does."""
_CREDENTIAL_SETTINGS = (
    "client_secret",
    "client_certificate",
    "client_certificate_password",
    "federated_token_file",
)


def _value(setting: Setting, given: Any, problems: list[str]) -> Any:
    """Return a setting's value in its kind, its default where nothing was given."""
    if isinstance(given, str) and setting.name not in _KEPT_AS_GIVEN:
        given = given.strip()
    if given is None or given == "":
        if setting.required:
            problems.append(f"{setting.name} is missing: {setting.description}")
        return setting.default
    try:
        value = _READERS[setting.kind](given)
    except (TypeError, ValueError, RecursionError):
        shown = "" if setting.secret else f", not {_without_user(repr(given))}"
        problems.append(f"{setting.name} must be {_KIND_NAMES[setting.kind]}{shown}.")
        return setting.default
    _check_range(setting, value, problems)
    return value


def _check_range(setting: Setting, value: Any, problems: list[str]) -> None:
    if setting.choices and value not in setting.choices:
        problems.append(f"{setting.name} must be one of {', '.join(setting.choices)}, not {value!r}.")
    if setting.minimum is not None and value < setting.minimum:
        problems.append(f"{setting.name} must be at least {setting.minimum}, not {value}.")
    if setting.maximum is not None and value > setting.maximum:
        problems.append(f"{setting.name} must be at most {setting.maximum}, not {value}.")


def _read_string(given: Any) -> str:
    if not isinstance(given, str):
        raise TypeError
    return given


def _read_integer(given: Any) -> int:
    if isinstance(given, bool) or (isinstance(given, float) and not given.is_integer()):
        raise TypeError
    if isinstance(given, str) and not _WHOLE.fullmatch(given):
        raise ValueError
    return int(given)


def _read_boolean(given: Any) -> bool:
    shown = str(given).lower()
    if shown not in _BOOLEANS:
        raise ValueError
    return _BOOLEANS[shown]


def _read_strings(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = json.loads(given) if given.startswith("[") else given.split(",")
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise TypeError
    return tuple(each.strip() for each in given if each.strip())


def _read_object(given: Any) -> dict[str, Any]:
    value = json.loads(given) if isinstance(given, str) else given
    if not hasattr(value, "items"):
        raise TypeError
    return dict(value)


_BOOLEANS = {"true": True, "1": True, "yes": True, "on": True} | dict.fromkeys(
    ("false", "0", "no", "off"), False
)
_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "string": _read_string,
        "integer": _read_integer,
        "boolean": _read_boolean,
        "date-time": _read_string,
        "strings": _read_strings,
        "object": _read_object,
    }
)
_KIND_NAMES = {
    "string": "text",
    "integer": "a whole number",
    "boolean": "true or false",
    "date-time": "a date or date-time",
    "strings": "a list of texts",
    "object": "an object",
}


@dataclass(frozen=True, slots=True)
class _Address:
    """The parts of an https address that may be kept."""

    base: str
    """`https://host`, with the port where it is not 443; lower case."""
    path: str


def _address(setting: str, given: str, problems: list[str]) -> _Address | None:
    """Read an address as people paste it; None, and a problem, where it cannot be used."""
    pasted = given if "://" in given else f"https://{given.lstrip('/')}"
    try:
        parts = urlsplit(pasted.lower())
        host, port = parts.hostname or "", parts.port
    except ValueError:
        problems.append(f"{setting} cannot be read as an address: {_without_user(given)!r}.")
        return None
    if parts.scheme != "https":
        problems.append(
            f"{setting} must begin with https://; {parts.scheme}:// would send tokens in the clear."
        )
        return None
    host = f"[{host}]" if ":" in host else host
    if not _HOST.fullmatch(host) or "@" in parts.netloc:
        problems.append(f"{setting} has no usable host name: {_without_user(given)!r}.")
        return None
    return _Address(f"https://{host}{f':{port}' if port and port != _HTTPS_PORT else ''}", parts.path)


def _environment_url(given: str | None, problems: list[str], notices: list[str]) -> str:
    """Keep scheme, host, port and `/namespaces/...` of a pasted address (facts section 1.1)."""
    address = _address("environment_url", given, problems) if given else None
    if address is None:
        return ""
    namespace = _NAMESPACE.match(address.path)
    kept = address.base + (namespace[0] if namespace else "")
    if kept != given:
        notices.append(f"environment_url: kept {kept} of what was given.")
    return kept


def _without_user(address: str) -> str:
    return re.sub(r"//[^/]*@", "//***@", address)


def _tenant(given: str | None, problems: list[str]) -> str:
    tenant = given or ""
    if tenant.lower() in ("common", "organizations", "consumers"):
        problems.append(
            f"tenant_id must be your own tenant, not {tenant!r}: app-only tokens are issued by one tenant."
        )
    elif tenant and not _GUID.fullmatch(tenant) and not _DOMAIN.fullmatch(tenant):
        problems.append(
            f"tenant_id must be a GUID or a domain such as contoso.onmicrosoft.com, not {tenant!r}."
        )
    return tenant


def _authority(given: str, problems: list[str], notices: list[str]) -> str:
    """Keep the host of an authority; AD FS is told by its path."""
    address = _address("authority", given, problems)
    if address is None:
        return given
    kept = address.base + ("/adfs" if address.path.rstrip("/") == "/adfs" else "")
    if kept != given.rstrip("/"):
        notices.append(f"authority: kept {kept} of what was given.")
    return kept


def _notice_oddities(client_id: str, settings: Mapping[str, Any], notices: list[str]) -> None:
    """Note what may be a slip but need not be one."""
    if not _GUID.fullmatch(client_id):
        notices.append("client_id is not a GUID, which application ids of Entra are.")
    known = [setting.name for setting in SETTINGS]
    for name in sorted(set(settings) - set(known)):
        near = difflib.get_close_matches(name, known, 1, cutoff=0.8)
        if near:
            notices.append(f"{name} is not a setting of this connector; did you mean {near[0]}?")


def _credentials(given: Mapping[str, Any], empty: list[str], problems: list[str]) -> Credentials:
    """Exactly one credential, and a password only with a certificate."""
    offered = [
        name for name in ("client_secret", "client_certificate", "federated_token_file") if given[name]
    ]
    if not offered:
        why = f" ({', '.join(empty)} is empty)" if empty else ""
        problems.append(
            f"No credential is given{why}: set client_secret, or client_certificate, or federated_token_file."
        )
    if len(offered) > 1:
        problems.append(f"More than one credential is given ({', '.join(offered)}): keep exactly one.")
    if given["client_certificate_password"] and not given["client_certificate"]:
        problems.append("client_certificate_password is given without client_certificate.")
    certificate, token_file = given["client_certificate"], given["federated_token_file"]
    if certificate and _PEM in certificate:
        certificate = certificate.replace("\\n", "\n")  # as environment variables carry line ends
    elif certificate and not _is_readable(certificate):
        problems.append("client_certificate is neither PEM text nor the path of a readable file.")
    if token_file and not _is_readable(token_file):
        problems.append("federated_token_file is not the path of a readable file.")
    return Credentials(
        secret=given["client_secret"],
        certificate=certificate,
        certificate_password=given["client_certificate_password"],
        federated_token_file=token_file,
    )


def _is_readable(path: str) -> bool:
    try:
        with Path(path).open("rb") as file:
            return bool(file.read(1))
    except (OSError, ValueError):
        return False


def _start_date(given: str | None, problems: list[str]) -> datetime | None:
    """Read a date or date-time; without an offset it is UTC, as schedulers hand it over."""
    if given is None:
        return None
    try:
        return _moment(given)
    except (ValueError, OverflowError):
        problems.append(
            f"start_date must be a date or date-time such as 2024-01-31T00:00:00Z, not {given!r}."
        )
        return None


def _moment(text: str) -> datetime:
    match = _MOMENT.fullmatch(text)
    if match is None:
        raise ValueError(text)
    time = match["time"] or "00:00:00"
    moment = datetime.fromisoformat(f"{match['date']}T{time if time.count(':') > 1 else f'{time}:00'}+00:00")
    moment = moment.replace(microsecond=int((match["fraction"] or "0")[:6].ljust(6, "0")))
    offset = match["offset"] or "Z"
    if offset in "Zz":
        return moment
    digits = offset[1:].replace(":", "").ljust(4, "0")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:]))
    return moment - ahead if offset[0] == "+" else moment + ahead


def _entity_options(given: Mapping[str, Any], problems: list[str]) -> Mapping[str, EntityOptions]:
    options: dict[str, EntityOptions] = {}
    spelled: dict[str, str] = {}
    for name, each in given.items():
        other = spelled.setdefault(str(name).casefold(), name)
        if other != name:
            problems.append(f"entity_options has {other} and {name}, which name the same entity.")
        if not hasattr(each, "items"):
            problems.append(f"entity_options.{name} must be an object.")
            continue
        options[name] = _options(f"entity_options.{name}", dict(each), problems)
    return MappingProxyType(options)


def _options(path: str, given: dict[str, Any], problems: list[str]) -> EntityOptions:
    for unknown in sorted(set(given) - set(ENTITY_OPTIONS), key=str):
        near = difflib.get_close_matches(str(unknown), ENTITY_OPTIONS, 1)
        meant = f"did you mean {near[0]}?" if near else f"there are {', '.join(ENTITY_OPTIONS)}."
        problems.append(f"{path}.{unknown} is not an option; {meant}")
    texts: dict[str, str | None] = {}
    for name in ("method", "replication_key", "filter", "data_project"):
        value = given.get(name)
        if value is not None and not isinstance(value, str):
            problems.append(f"{path}.{name} must be text.")
            value = None
        texts[name] = (value or "").strip() or None
    if texts["method"] and texts["method"] not in METHODS:
        problems.append(f"{path}.method must be one of {', '.join(METHODS)}, not {texts['method']!r}.")
    if (texts["filter"] or "").startswith(("$", "?")):
        problems.append(f"{path}.filter is the expression alone, without $filter=.")
    skip = given.get("skip_unreadable_rows")
    if skip is not None and not isinstance(skip, bool):
        problems.append(f"{path}.skip_unreadable_rows must be true or false.")
    return EntityOptions(skip_unreadable_rows=bool(skip), **texts)
