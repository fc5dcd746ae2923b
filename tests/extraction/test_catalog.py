"""The Singer catalog: ours out and back, and whatever people make of it."""

from __future__ import annotations

import contextlib
import copy
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from singer_sdk.singerlib import Catalog

from tap_d365fo.config import Config
from tap_d365fo.edm.model import Property
from tap_d365fo.errors import CatalogError
from tap_d365fo.extraction.catalog import catalog_entry, entity_from_catalog, selected_entries, write_catalog
from tap_d365fo.extraction.entity import DataEntity

REQUIRED = {
    "environment_url": "https://contoso.operations.dynamics.com",
    "tenant_id": "11111111-1111-4111-8111-111111111111",
    "client_id": "22222222-2222-4222-8222-222222222222",
    "client_secret": "made-up~value",
}


def config(**settings):
    return Config.from_mapping({**REQUIRED, **settings})


CONFIG = config()
STORE = config(change_store="/tmp/changes")

COLUMNS = (
    Property("dataAreaId", "Edm.String", nullable=False, ax_type="String", label="@SYS13342"),
    Property("SourceKey", "Edm.Int64", nullable=False, ax_type="Int64"),
    Property("SysModifiedDateTime", "Edm.DateTimeOffset", nullable=True, ax_type="UtcDateTime"),
    Property("InvoiceDate", "Edm.DateTimeOffset", nullable=True, ax_type="Date"),
    Property("Amount", "Edm.Decimal", nullable=True, ax_type="Real"),
    Property("IsOpen", "Microsoft.Dynamics.DataEntities.NoYes", nullable=True, ax_type="Enum"),
    Property("Id", "Edm.Guid", nullable=True, ax_type="Guid"),
    Property("Flag", "Edm.Boolean", nullable=True),
    Property("Picture", "Edm.Binary", nullable=True, ax_type="Container"),
)
ENTITY = DataEntity(
    name="CustTransBiEntities",
    type_name="CustTransBiEntity",
    key=("dataAreaId", "SourceKey"),
    properties=COLUMNS,
    method="timestamp",
    why="SysModifiedDateTime says when a row was last changed: runs ask for rows changed since.",
    replication_key="SysModifiedDateTime",
    label="Customer transactions",
    aot_name="CustTransBiEntity",
    category="Transaction",
    selected_by_default=True,
)
FULL = DataEntity("CustomersV3", "CustomerV3", ("dataAreaId",), COLUMNS, method="full", why="No stamp.")
SWEPT = DataEntity("CustomersV3", "CustomerV3", ("dataAreaId",), COLUMNS, method="sweep", why="No stamp.")


def entry_of(entity=ENTITY, settings=CONFIG):
    """Return the entry as a reader of the file gets it."""
    return json.loads(json.dumps(catalog_entry(entity, settings)))


def root(entry):
    return next(each["metadata"] for each in entry["metadata"] if not each["breadcrumb"])


def of(entry, name):
    return next(each["metadata"] for each in entry["metadata"] if each["breadcrumb"] == ["properties", name])


# -- out -----------------------------------------------------------------------------------------------------


def test_an_entry_says_what_a_singer_tap_says_and_our_part():
    entry = entry_of()

    assert entry["tap_stream_id"] == entry["stream"] == "CustTransBiEntities"
    assert entry["key_properties"] == ["dataAreaId", "SourceKey"]
    assert (entry["replication_method"], entry["replication_key"]) == ("INCREMENTAL", "SysModifiedDateTime")
    assert list(entry["schema"]["properties"]) == [each.name for each in COLUMNS]
    assert root(entry) == {
        "inclusion": "available",
        "selected": True,
        "selected-by-default": True,
        "table-key-properties": ["dataAreaId", "SourceKey"],
        "forced-replication-method": "INCREMENTAL",
        "valid-replication-keys": ["SysModifiedDateTime"],
        "method": "timestamp",
        "method-reason": ENTITY.why,
        "type-name": "CustTransBiEntity",
        "label": "Customer transactions",
        "aot-name": "CustTransBiEntity",
        "category": "Transaction",
    }
    assert of(entry, "dataAreaId") == {
        "inclusion": "automatic",
        "selected-by-default": True,
        "edm-type": "Edm.String",
        "ax-type": "String",
    }
    assert [each for each in COLUMNS if of(entry, each.name)["inclusion"] == "automatic"] == list(COLUMNS[:3])
    assert of(entry, "IsOpen")["edm-type"] == "Microsoft.Dynamics.DataEntities.NoYes"


def test_binary_columns_are_offered_but_not_selected_unless_asked_for():
    assert of(entry_of(), "Picture")["selected-by-default"] is False
    assert of(entry_of(settings=config(include_binary=True)), "Picture")["selected-by-default"] is True


def test_a_sweep_adds_the_deletion_column_and_full_adds_nothing():
    swept, full = entry_of(SWEPT), entry_of(FULL)

    assert "_sdc_deleted_at" in swept["schema"]["properties"]
    assert of(swept, "_sdc_deleted_at") == {"inclusion": "automatic"}
    assert swept["replication_method"] == "LOG_BASED"
    assert full["replication_method"] == "FULL_TABLE"
    assert "replication_key" not in full
    assert "valid-replication-keys" not in root(full)
    assert root(full)["selected"] is False


def test_decimals_as_strings_show_in_the_schema():
    entry = entry_of(settings=config(decimals="string"))

    assert entry["schema"]["properties"]["Amount"] == {"type": ["string", "null"]}


def test_the_text_holds_the_same_entries_one_a_line():
    text = b"".join(write_catalog([ENTITY, FULL], CONFIG))

    assert json.loads(text) == {"streams": [entry_of(ENTITY), entry_of(FULL)]}
    assert len(text.splitlines()) == 4
    assert json.loads(b"".join(write_catalog([], CONFIG))) == {"streams": []}


def test_the_sdk_reads_our_catalog_the_way_we_mean_it():
    catalog = Catalog.from_dict(json.loads(b"".join(write_catalog([ENTITY, FULL], CONFIG))))

    ours, full = catalog["CustTransBiEntities"], catalog["CustomersV3"]
    mask = ours.metadata.resolve_selection()
    assert (ours.replication_method, ours.replication_key) == ("INCREMENTAL", "SysModifiedDateTime")
    assert mask[()] is True
    assert full.metadata.resolve_selection()[()] is False
    _, selected = entity_from_catalog(entry_of(), CONFIG)
    assert selected == {each.name for each in COLUMNS if mask["properties", each.name]}


# -- back ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("entity", [ENTITY, FULL, SWEPT], ids=lambda each: each.method)
def test_what_was_written_is_read_back(entity):
    back, selected = entity_from_catalog(entry_of(entity, STORE), STORE)

    assert (back.name, back.type_name, back.key) == (entity.name, entity.type_name, entity.key)
    assert (back.method, back.why, back.replication_key) == (
        entity.method,
        entity.why,
        entity.replication_key,
    )
    assert (back.label, back.aot_name, back.category) == (entity.label, entity.aot_name, entity.category)
    described = [(each.name, each.type, each.ax_type, each.label) for each in back.properties]
    assert described == [(each.name, each.type, each.ax_type, each.label) for each in COLUMNS]
    assert selected == {each.name for each in COLUMNS} - {"Picture"}


def test_columns_are_selected_as_told_and_keys_and_replication_key_always():
    entry = entry_of()
    for each in COLUMNS:
        of(entry, each.name)["selected"] = each.name == "Picture"

    _, selected = entity_from_catalog(entry, CONFIG)

    assert selected == {"dataAreaId", "SourceKey", "SysModifiedDateTime", "Picture"}


def test_a_catalog_without_our_types_is_understood_by_its_schema():
    entry = entry_of()
    entry["metadata"] = [{"breadcrumb": [], "metadata": {"selected": True}}]

    entity, selected = entity_from_catalog(entry, CONFIG)

    assert {each.name: (each.type, each.ax_type) for each in entity.properties} == {
        "dataAreaId": ("Edm.String", None),
        "SourceKey": ("Edm.Int64", None),
        "SysModifiedDateTime": ("Edm.DateTimeOffset", None),
        "InvoiceDate": ("Edm.DateTimeOffset", "Date"),
        "Amount": ("Edm.Decimal", None),
        "IsOpen": ("Edm.String", None),
        "Id": ("Edm.Guid", None),
        "Flag": ("Edm.Boolean", None),
        "Picture": ("Edm.Binary", None),
    }
    assert (entity.method, entity.replication_key) == ("timestamp", "SysModifiedDateTime")
    assert len(selected) == len(COLUMNS)


def test_a_catalog_that_went_through_the_sdk_still_works():
    through = Catalog.from_dict({"streams": [entry_of()]}).to_dict()["streams"][0]

    entity, selected = entity_from_catalog(through, CONFIG)

    assert (entity.method, entity.replication_key) == ("timestamp", "SysModifiedDateTime")
    assert entity.key == ENTITY.key
    assert "Picture" not in selected


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": ["null", "integer"]}, "Edm.Int64"),
        ({"type": "number"}, "Edm.Decimal"),
        ({"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}, "Edm.DateTimeOffset"),
        ({"oneOf": [{"type": "integer"}, {"type": "null"}]}, "Edm.Int64"),
        ({"anyOf": "nonsense", "type": "boolean"}, "Edm.Boolean"),
        ({}, "Edm.String"),
        ("nonsense", "Edm.String"),
        ({"type": ["string", "null"], "format": 7}, "Edm.String"),
    ],
    ids=str,
)
def test_foreign_schemas_are_understood(schema, expected):
    entry = {"tap_stream_id": "A", "schema": {"properties": {"X": schema}}}

    entity, selected = entity_from_catalog(entry, CONFIG)

    assert entity.properties[0].type == expected
    assert (entity.method, entity.key, selected) == ("full", (), {"X"})


@pytest.mark.parametrize(
    ("entity", "edit", "method", "replication_key"),
    [
        (ENTITY, {"root": {"replication-method": "FULL_TABLE"}}, "full", None),
        (ENTITY, {"root": {"forced-replication-method": "FULL_TABLE"}}, "full", None),
        (ENTITY, {"replication_method": "FULL_TABLE"}, "full", None),
        (ENTITY, {"root": {"replication-method": "LOG_BASED"}}, "sweep", None),
        (ENTITY, {"root": {"replication-key": "SourceKey"}}, "sequence", "SourceKey"),
        (ENTITY, {"replication_key": "InvoiceDate"}, "timestamp", "InvoiceDate"),
        (FULL, {"root": {"replication-method": "INCREMENTAL", "replication-key": "SysModifiedDateTime"}}, "timestamp", "SysModifiedDateTime"),
        (FULL, {"root": {"replication-method": "incremental"}}, "timestamp", "SysModifiedDateTime"),
        (FULL, {"replication_method": "INCREMENTAL", "replication_key": "SourceKey"}, "sequence", "SourceKey"),
        (FULL, {"root": {"replication-method": "LOG_BASED"}}, "sweep", None),
        (SWEPT, {"replication_method": "FULL_TABLE"}, "full", None),
    ],
    ids=lambda value: value.method if isinstance(value, DataEntity) else str(value),
)  # fmt: skip
def test_an_edited_method_is_obeyed(entity, edit, method, replication_key):
    entry = entry_of(entity, STORE)
    edit = copy.deepcopy(edit)
    root(entry).update(edit.pop("root", {}))
    entry.update(edit)

    found, selected = entity_from_catalog(entry, STORE)

    assert (found.method, found.replication_key) == (method, replication_key)
    assert found.why.startswith("The catalog asks for")
    assert replication_key is None or replication_key in selected


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        ({"replication_method": "INCREMENTAL", "replication_key": "Nonsense"}, "no property Nonsense"),
        ({"replication_method": "INCREMENTAL", "replication_key": "Amount"}, "needs a date-time"),
        ({"replication_method": "LOG_BASED"}, "needs the setting change_store"),
        ({"replication_method": "SOMETIMES"}, "'SOMETIMES' is no method"),
        ({"replication_method": "INCREMENTAL", "key_properties": []}, "needs a key"),
        ({"key_properties": ["Nonsense"]}, "its key names Nonsense"),
        ({"key_properties": "dataAreaId"}, "key_properties are not a list"),
        ({"schema": {}}, "no schema with properties"),
        ({"schema": None}, "no schema with properties"),
        ({"metadata": {"selected": True}}, "metadata is not a list of breadcrumbs"),
        ({"metadata": [{"breadcrumb": []}]}, "metadata is not a list of breadcrumbs"),
        ({"metadata": 5}, "metadata is not a list of breadcrumbs"),
    ],
    ids=str,
)
def test_an_entry_that_cannot_be_read_is_told_by_name_and_reason(edit, message):
    with pytest.raises(CatalogError, match=rf"stream CustomersV3 cannot be read: .*{message}"):
        entity_from_catalog({**entry_of(FULL), **edit}, CONFIG)


def test_a_stream_without_a_name_is_told():
    with pytest.raises(CatalogError, match="without a name"):
        entity_from_catalog({"schema": {"properties": {"A": {}}}}, CONFIG)


def test_entity_options_win_over_the_catalog():
    settings = config(entity_options={"CustTransBiEntities": {"method": "full"}})

    entity, _ = entity_from_catalog(entry_of(), settings)

    assert (entity.method, entity.replication_key) == ("full", None)


def test_columns_that_taps_and_targets_add_are_not_asked_for():
    entry = entry_of(SWEPT)
    entry["schema"]["properties"]["_sdc_batched_at"] = {"type": ["string", "null"], "format": "date-time"}

    entity, selected = entity_from_catalog(entry, STORE)

    assert not [each.name for each in entity.properties if each.name.startswith("_")]
    assert not [each for each in selected if each.startswith("_")]


# -- selection -----------------------------------------------------------------------------------------------


def stream(name, metadata=None, **more):
    entry = {"tap_stream_id": name, "schema": {"properties": {"A": {"type": "string"}}}, **more}
    return entry if metadata is None else {**entry, "metadata": metadata}


def told(**metadata):
    return [
        {"breadcrumb": ["properties", "A"], "metadata": {"selected": True}},
        {"breadcrumb": [], "metadata": {name.replace("_", "-"): value for name, value in metadata.items()}},
    ]


SELECTIONS = [
    (stream("selected", told(selected=True)), True),
    (stream("deselected", told(selected=False, selected_by_default=True)), False),
    (stream("by default", told(selected_by_default=True)), True),
    (stream("not by default", told(selected_by_default=False)), False),
    (stream("told nothing", told()), False),
    (stream("no metadata"), True),
    (stream("null metadata", metadata=None), True),
    (stream("empty metadata", []), True),
    (stream("legacy", schema={"selected": True, "properties": {"A": {}}}), True),
    (stream("legacy deselected", schema={"selected": False, "properties": {"A": {}}}), False),
    (stream("unsupported", told(selected=True, inclusion="unsupported")), False),
    (stream("selected as text", told(selected="true")), True),
    (stream("deselected as text", told(selected="false")), False),
    (
        stream(
            "odd neighbours",
            [{"breadcrumb": [], "metadata": {"selected": True, "label": 5}}],
            schema={"properties": 7},
        ),
        True,
    ),
]


ORDERS = {
    "columns first": lambda items: items,
    "stream first": lambda items: items[::-1],
    "stream alone": lambda items: [each for each in items if not each["breadcrumb"]],
    "metadata first": lambda items: [dict(reversed(each.items())) for each in reversed(items)],
    "text like keys": lambda items: [
        {**each, "metadata": {"note": '}, {"breadcrumb": [] \\', **each["metadata"]}}
        for each in reversed(items)
    ],
}


@pytest.mark.parametrize("order", ORDERS.values(), ids=ORDERS)
@pytest.mark.parametrize(
    "spelling", [{}, {"indent": 2}, {"separators": (",", ":")}], ids=["usual", "loose", "tight"]
)
def test_entries_are_selected_in_whatever_order_and_spelling_they_tell_it(order, spelling):
    entries = [
        ({**entry, "metadata": order(entry["metadata"])} if entry.get("metadata") else entry, is_selected)
        for entry, is_selected in SELECTIONS
    ]

    found = selected_entries(json.dumps({"streams": [entry for entry, _ in entries]}, **spelling))

    assert found == [entry for entry, is_selected in entries if is_selected]


@pytest.mark.parametrize("as_text", [True, False], ids=["text", "mapping"])
def test_selected_entries_are_the_selected_ones_in_order(as_text):
    catalog = {"streams": [entry for entry, _ in SELECTIONS]}

    found = selected_entries(json.dumps(catalog).encode() if as_text else catalog)

    assert found == [entry for entry, is_selected in SELECTIONS if is_selected]


def test_our_own_catalog_selects_what_entities_named():
    text = b"".join(write_catalog([ENTITY, FULL], CONFIG))

    assert [each["stream"] for each in selected_entries(text)] == ["CustTransBiEntities"]
    assert selected_entries(text.decode()) == selected_entries(json.loads(text))


@pytest.mark.parametrize(
    "catalog",
    [b"", b"not json", b"[]", b"5", b"{}", b'{"streams": {}}', b'{"streams": [5]}', b'{"streams": null}', b'\xff\xfe{"streams": []}', b'{"streams": [' + b'{"a":' * 100_000, {}, {"streams": [5]}],
    ids=lambda catalog: repr(catalog)[:30],
)  # fmt: skip
def test_what_is_no_catalog_is_told(catalog):
    with pytest.raises(CatalogError, match="is no Singer catalog"):
        selected_entries(catalog)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(
        ["tap_stream_id", "schema", "properties", "metadata", "breadcrumb", "selected", "type", "format", "key_properties", "anyOf"]
    ), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(
    JSON,
    st.dictionaries(
        st.sampled_from(["schema", "metadata", "key_properties", "replication_method", "replication_key"]),
        JSON,
    ),
)
def test_arbitrary_json_is_read_or_told_and_never_crashes(document, parts):
    entries = [{"tap_stream_id": "A", **parts}, *([document] if isinstance(document, dict) else [])]
    for catalog in (document, {"streams": document}, {"streams": entries}):
        with contextlib.suppress(CatalogError):
            for entry in selected_entries(msgspec.json.encode(catalog)):
                entity, selected = entity_from_catalog(entry, CONFIG)
                assert set(entity.key) <= selected
