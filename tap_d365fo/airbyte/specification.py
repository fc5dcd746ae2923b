"""The connection form: the one declaration of settings as Airbyte draws it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tap_d365fo.config import METHODS, SETTINGS, Setting, config_jsonschema

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

DOCUMENTATION = "https://github.com/tap-d365fo/tap-d365fo/blob/main/docs/airbyte.md"
CREDENTIAL = "credential"
"""The nested field: which kind of credential, and its parts."""

KIND = "kind"
"""The constant that tells the kinds apart."""

ENTITY_OPTIONS = "entity_options"
OPTIONS_LIST = "entity_options_list"
"""Airbyte's form cannot draw a mapping from entity to options. It hides that one (which Terraform, the API and
PyAirbyte can set all the same) and draws a list, with the entity in each item."""

_KINDS: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("client_secret", "Client secret", ("client_secret",)),
    ("client_certificate", "Certificate", ("client_certificate", "client_certificate_password")),
    ("federated_token", "Workload identity", ("federated_token_file",)),
)
"""Value of the choice, its title, and its settings; the first is what most people have."""

_HIDDEN = frozenset({"metrics_file"})
"""Settings that make no sense inside a container that is thrown away."""


def specification() -> dict[str, Any]:
    """Return the connection specification."""
    schemas = config_jsonschema()["properties"]
    in_credential = {name for _, _, names in _KINDS for name in names}
    fields = {
        each.name: _field(each, schemas[each.name])
        for each in SETTINGS
        if each.name not in in_credential and each.name not in _HIDDEN
    }
    fields[CREDENTIAL] = _credential(schemas)
    fields[OPTIONS_LIST] = _options_list(fields[ENTITY_OPTIONS])
    fields[ENTITY_OPTIONS] |= {"airbyte_hidden": True, "additionalProperties": True}
    names = [each for each in fields if each != CREDENTIAL]
    names.insert(names.index("client_id") + 1, CREDENTIAL)
    groups = dict.fromkeys(each.group for each in SETTINGS if each.group != "Credential")
    return {
        "documentationUrl": DOCUMENTATION,
        "connectionSpecification": {
            "$schema": "http://json-schema.org/draft-07/schema#",
            "title": "Dynamics 365 Finance & Operations",
            "type": "object",
            "required": [*(each.name for each in SETTINGS if each.required), CREDENTIAL],
            "additionalProperties": True,
            "groups": [{"id": _group_id(title), "title": title} for title in groups],
            "properties": {name: {**fields[name], "order": order} for order, name in enumerate(names)},
        },
        "supportsIncremental": True,
        "supported_destination_sync_modes": [],
    }


def _group_id(title: str) -> str:
    return title.lower().replace(" ", "_")


_KEPT = ("title", "description", "default", "minimum", "maximum", "examples", "items")
_NAMED_LIKE_SECRETS = ("_token_file", "_key")
"""Endings that Airbyte takes for secrets unless told otherwise."""


def _field(setting: Setting, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Return a setting as one field: a single type, no null, secrets marked Airbyte's way."""
    kind = schema["type"][0] if isinstance(schema["type"], list) else schema["type"]
    field = {"type": kind, **{name: schema[name] for name in _KEPT if name in schema}}
    if setting.choices:
        field["enum"] = list(setting.choices)
    if setting.kind == "date-time":
        field |= {"format": "date-time", "pattern": _DATE_TIME, "examples": ["2024-01-01T00:00:00Z"]}
    if setting.secret:
        field["airbyte_secret"] = True
    if setting.name.endswith(_NAMED_LIKE_SECRETS):
        field["airbyte_secret"] = False
    if setting.group != "Credential":
        field["group"] = _group_id(setting.group)
    return field


_DATE_TIME = (
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})?)?$"
)


def _credential(schemas: Mapping[str, Any]) -> dict[str, Any]:
    settings = {each.name: each for each in SETTINGS}
    choices = []
    for value, title, names in _KINDS:
        fields = {
            name: {**_field(settings[name], schemas[name]), "order": order + 1}
            for order, name in enumerate(names)
        }
        if "client_certificate" in fields:
            fields["client_certificate"]["multiline"] = True
        kind = {"type": "string", "const": value, "default": value, "order": 0}
        choices.append(
            {
                "title": title,
                "type": "object",
                "required": [KIND, names[0]],
                "properties": {KIND: kind, **fields},
            }
        )
    return {
        "title": "Credential",
        "description": "How your app registration proves who it is.",
        "type": "object",
        "group": "connection",
        "oneOf": choices,
    }


def _options_list(mapping: Mapping[str, Any]) -> dict[str, Any]:
    """Return the drawable form of the field that holds a mapping."""
    fields: dict[str, dict[str, Any]] = {
        "entity": {
            "type": "string",
            "title": "Entity",
            "description": "The entity set that the options are for.",
            "examples": ["CustomersV3"],
        },
        "method": {
            "type": "string",
            "title": "Method",
            "description": "How you want changes found; leave it empty for the method that suits the entity.",
            "enum": [each for each in METHODS if each != "package"],
        },
        "replication_key": {
            "type": "string",
            "title": "Replication key",
            "description": "The column that tells changed rows, for the methods timestamp and sequence.",
            "airbyte_secret": False,
        },
        "filter": {
            "type": "string",
            "title": "Filter",
            "description": "An OData $filter: the rows that you want.",
            "examples": ["CustomerGroupId eq '10'"],
        },
        "skip_unreadable_rows": {
            "type": "boolean",
            "title": "Skip unreadable rows",
            "description": "Whether you want to go on without rows that the environment itself cannot read.",
            "default": False,
        },
    }
    properties = {name: {**field, "order": order} for order, (name, field) in enumerate(fields.items())}
    items = {"type": "object", "title": "Entity", "required": ["entity"], "properties": properties}
    shown = {name: mapping[name] for name in ("title", "group")}
    return {"type": "array", **shown, "description": "Options for single entities.", "items": items}


# -- a filled form -> settings -------------------------------------------------------------------------------


def settings_from(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tap's settings from a filled form; a flat configuration, as the tap takes it, is as good.

    Everything else is left out: keys that a platform adds (`__...`), and settings of the Singer door alone.
    """
    names = {each.name for each in SETTINGS}
    settings = {name: value for name, value in config.items() if name in names and value is not None}
    credential = config.get(CREDENTIAL)
    if isinstance(credential, dict):
        settings |= {name: value for name, value in credential.items() if name in names and value is not None}
    if config.get(OPTIONS_LIST):
        settings[ENTITY_OPTIONS] = _mapping(settings.get(ENTITY_OPTIONS), config[OPTIONS_LIST])
    return settings


def _mapping(mapping: Any, items: Any) -> Any:
    """Return the mapping with the list's items added; what is no list of options is for the tap to judge."""
    if not isinstance(items, list) or not all(isinstance(each, dict) for each in items):
        return items
    listed = {str(each.get("entity", "")): _without(each, ("entity",)) for each in items}
    return {**(mapping if isinstance(mapping, dict) else {}), **listed}


def without_methods(options: Any, entities: Collection[str]) -> Any:
    """Return entity options that leave the method of these entities open: the sync mode has decided it."""
    if not isinstance(options, dict):
        return options
    folded = {each.casefold() for each in entities}
    return {
        name: _without(each, ("method", "replication_key")) if name.casefold() in folded else each
        for name, each in options.items()
    }


def _without(options: Any, names: Iterable[str]) -> Any:
    return (
        {name: value for name, value in options.items() if name not in names}
        if isinstance(options, dict)
        else options
    )
