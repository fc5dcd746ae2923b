"""Properties to JSON Schema."""

from __future__ import annotations

import json

import pytest

from tap_d365fo.edm.csdl import read_model
from tap_d365fo.edm.model import Property
from tap_d365fo.edm.schema import column_schema, json_schema

jsonschema = pytest.importorskip("jsonschema")


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (Property("X", "Edm.String"), {"type": ["string", "null"]}),
        (
            Property("X", "Microsoft.Dynamics.DataEntities.NoYes", ax_type="Enum"),
            {"type": ["string", "null"]},
        ),
        (Property("X", "Edm.Decimal", nullable=False, ax_type="Real"), {"type": ["number", "null"]}),
        (Property("X", "Edm.Int32"), {"type": ["integer", "null"]}),
        (Property("X", "Edm.Int64"), {"type": ["integer", "null"]}),
        (Property("X", "Edm.Int32", ax_type="Time"), {"type": ["integer", "null"]}),
        (
            Property("X", "Edm.DateTimeOffset", ax_type="Date"),
            {"type": ["string", "null"], "format": "date"},
        ),
        (
            Property("X", "Edm.DateTimeOffset", ax_type="UtcDateTime"),
            {"type": ["string", "null"], "format": "date-time"},
        ),
        (Property("X", "Edm.DateTimeOffset"), {"type": ["string", "null"], "format": "date-time"}),
        (Property("X", "Edm.Date"), {"type": ["string", "null"], "format": "date"}),
        (Property("X", "Edm.Guid"), {"type": ["string", "null"], "format": "uuid"}),
        (Property("X", "Edm.Boolean"), {"type": ["boolean", "null"]}),
        (Property("X", "Edm.Binary"), {"type": ["string", "null"], "contentEncoding": "base64"}),
        (
            Property("X", "Edm.String", label="@SYS1", help_text="@SYS2"),
            {"type": ["string", "null"], "description": "@SYS1"},
        ),
        (
            Property("X", "Edm.String", help_text="@SYS2"),
            {"type": ["string", "null"], "description": "@SYS2"},
        ),
    ],
    ids=lambda value: f"{value.type}/{value.ax_type}" if isinstance(value, Property) else "",
)
def test_each_type_has_its_schema(column, expected):
    assert column_schema(column) == expected


def test_key_columns_are_never_null_and_all_others_may_be():
    properties = (
        Property("dataAreaId", "Edm.String", nullable=False),
        Property("StartDate", "Edm.DateTimeOffset", nullable=False, ax_type="Date"),
        Property("Amount", "Edm.Decimal", nullable=False),
    )

    schema = json_schema(properties, ("dataAreaId", "StartDate"))

    assert schema == {
        "type": "object",
        "properties": {
            "dataAreaId": {"type": "string"},
            "StartDate": {"type": "string", "format": "date"},
            "Amount": {"type": ["number", "null"]},
        },
    }
    assert list(schema["properties"]) == ["dataAreaId", "StartDate", "Amount"]


def test_decimals_can_be_strings_while_integers_stay_integers():
    properties = (Property("Amount", "Edm.Decimal"), Property("RecId", "Edm.Int64"))

    schema = json_schema(properties, (), decimals="string")

    assert schema["properties"] == {
        "Amount": {"type": ["string", "null"]},
        "RecId": {"type": ["integer", "null"]},
    }


def test_a_sweep_adds_the_time_at_which_a_row_was_found_deleted():
    schema = json_schema((Property("Id", "Edm.String"),), ("Id",), sweep=True)

    assert schema["properties"]["_sdc_deleted_at"] == {"type": ["string", "null"], "format": "date-time"}


def test_schemas_are_values_of_their_own():
    """A door may add to one schema without changing another."""
    first = json_schema((Property("A", "Edm.Guid"),), ())
    first["properties"]["A"]["type"].append("integer")

    assert json_schema((Property("A", "Edm.Guid"),), ())["properties"]["A"]["type"] == ["string", "null"]


# -- genuine rows against schemas made from genuine metadata ------------------------------------------------


def recorded_rows(samples):
    """Yield (entity set, row) of every recorded answer that holds rows."""
    for path in sorted((samples / "recordings").glob("*.json")):
        for exchange in json.loads(path.read_text(encoding="utf-8")):
            body = exchange["body"]
            if exchange["status"] != 200 or not isinstance(body, dict):
                continue
            entity_set = exchange["path"].removeprefix("/data/").partition("(")[0]
            for row in body.get("value", [body]):
                yield (
                    entity_set,
                    {name: value for name, value in row.items() if not name.startswith("@odata.")},
                )


def as_output(row, entity_type):
    """Return a row with AX dates as plain dates, and nothing else changed: how we promise to write it."""
    days = {each.name for each in entity_type.properties if each.ax_type == "Date"}
    return {name: value[:10] if name in days else value for name, value in row.items()}


def test_recorded_rows_validate_against_the_schema_of_their_entity(samples):
    entity_sets = {}
    for path in (samples / "metadata").glob("*.xml"):
        entity_sets.update(read_model([path.read_bytes()]).entity_sets)
    checked, unknown = [], set()

    for name, row in recorded_rows(samples):
        if name not in entity_sets:
            continue
        entity_type = entity_sets[name].entity_type
        names = {each.name for each in entity_type.properties}
        unknown |= row.keys() - names
        known = {name: value for name, value in as_output(row, entity_type).items() if name in names}
        schema = json_schema(entity_type.properties, entity_type.key)
        strict = {**schema, "required": sorted(names), "additionalProperties": False}
        jsonschema.Draft202012Validator(strict, format_checker=jsonschema.FormatChecker()).validate(known)
        checked.append(name)

    assert checked == ["CustomersV3"] * 23
    # The recorded environment is newer than the excerpt by these columns, and by nothing else.
    assert {name.startswith("QMS") for name in unknown} == {True}
    assert len(unknown) == 4


def test_a_recorded_row_with_a_wrong_type_would_be_noticed(samples):
    path = samples / "metadata" / "fin_short.xml"
    entity_type = read_model([path.read_bytes()]).entity_sets["CustomersV3"].entity_type
    schema = json_schema(entity_type.properties, entity_type.key)
    row = next(row for name, row in recorded_rows(samples) if name == "CustomersV3")
    validator = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker())

    assert not validator.is_valid({**as_output(row, entity_type), "CreditLimit": "33.33"})
    assert not validator.is_valid({**as_output(row, entity_type), "CustomerAccount": None})
    assert not validator.is_valid(row), "dates as they travel are no dates"
