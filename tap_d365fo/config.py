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
from datetime import datetime, timezone
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

_HTTPS_PORT = 443
_GUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_DOMAIN = re.compile(r"[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9-]+)+")
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")


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
        "The Microsoft Entra tenant of the environment: its GUID or a verified domain.",
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
        "The value (not the id) of a client secret; required unless you give another credential.",
        secret=True,
        group="Credential",
    ),
    Setting(
        "client_certificate",
        "string",
        "Client certificate",
        "A certificate with its private key instead of a secret: PEM text, or the path of a PEM or PFX file.",
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
        "The path of an OIDC token file: workload identity federation instead of a secret.",
        group="Credential",
    ),
    Setting(
        "authority",
        "string",
        "Entra authority",
        "The host of Microsoft Entra; change it for a sovereign cloud only.",
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
        "The lower bound of time-stamp incremental streams that have no bookmark yet.",
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
        "The most rows that one request asks for; wide entities are asked for in fewer, so that a page stays near "
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
        "How many seconds one request may be retried, throttling waits included, before its stream fails.",
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
        "A folder or fsspec URL where change sweeps remember row versions; setting it turns sweeps on, and with them "
        "changes and deletes of entities that have no time stamp.",
        examples=("/var/lib/tap-d365fo", "s3://bucket/fno"),
        group="What to read",
    ),
    Setting(
        "entity_options",
        "object",
        "Entity options",
        "Options for single entities: method (timestamp, sequence, sweep or full), replication_key, filter (an OData "
        "$filter), skip_unreadable_rows.",
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
        values = {setting.name: _value(setting, settings.get(setting.name), problems) for setting in SETTINGS}
        address, notices = _environment_url(values.pop("environment_url"), problems)
        credential = {name: values.pop(name) for name in _CREDENTIAL_SETTINGS}
        values["credentials"] = _credentials(credential, problems)
        values["tenant_id"] = _tenant(values["tenant_id"], problems)
        values["authority"] = _authority(values["authority"], problems)
        values["start_date"] = _start_date(values["start_date"], problems)
        values["companies"] = tuple(
            each.strip().lower() for each in values["companies"] or () if each.strip()
        )
        values["entity_options"] = _entity_options(values["entity_options"], problems)
        if problems:
            raise ConfigurationError(problems)
        return cls(environment_url=address, notices=notices, **values)


_NO_OPTIONS = EntityOptions()
_CREDENTIAL_SETTINGS = (
    "client_secret",
    "client_certificate",
    "client_certificate_password",
    "federated_token_file",
)


def _value(setting: Setting, given: Any, problems: list[str]) -> Any:
    """Return a setting's value in its kind, its default where nothing was given."""
    if isinstance(given, str):
        given = given.strip() if not setting.secret else given
    if given is None or given == "":
        if setting.required:
            problems.append(f"{setting.name} is missing: {setting.description}")
        return (
            tuple(setting.default)
            if setting.kind == "strings" and setting.default is not None
            else setting.default
        )
    try:
        value = _READERS[setting.kind](given)
    except (TypeError, ValueError):
        shown = "" if setting.secret else f", not {given!r}"
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
    return int(given)


def _read_boolean(given: Any) -> bool:
    if isinstance(given, bool):
        return given
    return {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}[str(given).lower()]


def _read_strings(given: Any) -> tuple[str, ...]:
    if isinstance(given, str):
        given = (
            json.loads(given)
            if given.lstrip().startswith("[")
            else [part.strip() for part in given.split(",")]
        )
    if not isinstance(given, list | tuple) or not all(isinstance(each, str) for each in given):
        raise TypeError
    return tuple(each for each in given if each)


def _read_object(given: Any) -> dict[str, Any]:
    value = json.loads(given) if isinstance(given, str) else given
    if not hasattr(value, "items"):
        raise TypeError
    return dict(value)


def _boolean_or_error(given: Any) -> bool:
    try:
        return _read_boolean(given)
    except KeyError as exc:
        raise ValueError from exc


_READERS: Mapping[str, Callable[[Any], Any]] = MappingProxyType(
    {
        "string": _read_string,
        "integer": _read_integer,
        "boolean": _boolean_or_error,
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


def _environment_url(given: str | None, problems: list[str]) -> tuple[str, tuple[str, ...]]:
    """Keep scheme, host, port and `/namespaces/...` of a pasted address (facts section 1.1)."""
    if not given:
        return "", ()
    pasted = given if "://" in given else f"https://{given}"
    try:
        parts = urlsplit(pasted.lower())
        port = parts.port
    except ValueError:
        problems.append(f"environment_url cannot be read as an address: {given!r}.")
        return "", ()
    if parts.scheme != "https":
        problems.append(
            f"environment_url must begin with https://; {parts.scheme}:// would send tokens in the clear."
        )
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    if not _HOST.fullmatch(host) or parts.username or parts.password:
        problems.append(f"environment_url has no usable host name: {_without_user(given)!r}.")
    namespace = re.match(r"/namespaces/[^/]+", parts.path)
    prefix = namespace[0] if namespace else ""
    kept = f"https://{host}{f':{port}' if port and port != _HTTPS_PORT else ''}{prefix}"
    notice = () if kept == given else (f"environment_url: kept {kept} of what was given.",)
    return kept, notice


def _without_user(address: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", address)


def _tenant(given: str | None, problems: list[str]) -> str:
    tenant = (given or "").strip()
    if tenant.lower() in ("common", "organizations", "consumers"):
        problems.append(
            f"tenant_id must be your own tenant, not {tenant!r}: app-only tokens are issued by one tenant."
        )
    elif tenant and not _GUID.fullmatch(tenant) and not _DOMAIN.fullmatch(tenant):
        problems.append(
            f"tenant_id must be a GUID or a domain such as contoso.onmicrosoft.com, not {tenant!r}."
        )
    return tenant


def _authority(given: str, problems: list[str]) -> str:
    pasted = given if "://" in given else f"https://{given}"
    try:
        parts = urlsplit(pasted)
        netloc = parts.netloc.lower()
    except ValueError:
        parts, netloc = None, ""
    if parts is None or parts.scheme != "https" or not netloc or "@" in netloc:
        problems.append(
            f"authority must be an https address such as {DEFAULT_AUTHORITY}, not {_without_user(given)!r}."
        )
        return given
    path = parts.path.rstrip("/")
    return f"https://{netloc}{path if path == '/adfs' else ''}"


def _credentials(given: Mapping[str, Any], problems: list[str]) -> Credentials:
    """Exactly one credential, and a password only with a certificate."""
    offered = [
        name for name in ("client_secret", "client_certificate", "federated_token_file") if given[name]
    ]
    if not offered:
        problems.append(
            "No credential is given: set client_secret, or client_certificate, or federated_token_file."
        )
    if len(offered) > 1:
        problems.append(f"More than one credential is given ({', '.join(offered)}): keep exactly one.")
    if given["client_certificate_password"] and not given["client_certificate"]:
        problems.append("client_certificate_password is given without client_certificate.")
    if given["client_secret"] and not given["client_secret"].strip():
        problems.append("client_secret is blank.")
    for name in ("client_certificate", "federated_token_file"):
        path = given[name]
        if path and "-----BEGIN" not in path and not _is_file(path):
            what = (
                "neither PEM text nor the path of a readable file"
                if name == "client_certificate"
                else "no readable file"
            )
            problems.append(f"{name} is {what}.")
    return Credentials(
        secret=given["client_secret"] or None,
        certificate=given["client_certificate"] or None,
        certificate_password=given["client_certificate_password"] or None,
        federated_token_file=given["federated_token_file"] or None,
    )


def _is_file(path: str) -> bool:
    try:
        return Path(path).is_file()
    except (OSError, ValueError):
        return False


def _start_date(given: str | None, problems: list[str]) -> datetime | None:
    """Read a date or date-time; without an offset it is UTC, as schedulers hand it over."""
    if given is None:
        return None
    try:
        moment = datetime.fromisoformat(given.replace("Z", "+00:00").replace("z", "+00:00"))
        aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
        return aware.astimezone(timezone.utc)
    except (ValueError, OverflowError):
        problems.append(
            f"start_date must be a date or date-time such as 2024-01-31T00:00:00Z, not {given!r}."
        )
        return None


def _entity_options(given: Mapping[str, Any], problems: list[str]) -> Mapping[str, EntityOptions]:
    options = {}
    for name, each in (given or {}).items():
        if not hasattr(each, "items"):
            problems.append(f"entity_options.{name} must be an object.")
            continue
        options[name] = _options(f"entity_options.{name}", dict(each), problems)
    return MappingProxyType(options)


def _options(path: str, given: dict[str, Any], problems: list[str]) -> EntityOptions:
    for unknown in sorted(set(given) - set(ENTITY_OPTIONS)):
        near = difflib.get_close_matches(unknown, ENTITY_OPTIONS, 1)
        meant = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(ENTITY_OPTIONS)}."
        problems.append(f"{path}.{unknown} is not an option{meant}")
    texts: dict[str, str | None] = {}
    for name in ("method", "replication_key", "filter", "data_project"):
        value = given.get(name)
        if value is not None and not isinstance(value, str):
            problems.append(f"{path}.{name} must be text.")
            value = None
        texts[name] = value or None
    if texts["method"] and texts["method"] not in METHODS:
        problems.append(f"{path}.method must be one of {', '.join(METHODS)}, not {texts['method']!r}.")
    skip = given.get("skip_unreadable_rows", False)
    if not isinstance(skip, bool):
        problems.append(f"{path}.skip_unreadable_rows must be true or false.")
    return EntityOptions(skip_unreadable_rows=bool(skip), **texts)
