"""The environment described: `$metadata`, the OData service behind `/metadata`, and label texts.

Descriptions are made once and kept until the entities change. With `metadata.scale` full, entity sets
without rows join the built-in ones until the environment has its real size.
"""

from __future__ import annotations

import base64
import gzip
import re
import threading
import zlib
from random import Random
from typing import TYPE_CHECKING, Any

from tap_d365fo.sandbox.definition import EntityDefinition, define
from tap_d365fo.sandbox.filter import QueryError, compile_filter, parse_filter
from tap_d365fo.sandbox.fullsize import full_size
from tap_d365fo.sandbox.metadata import csdl
from tap_d365fo.sandbox.reply import JSON_MINIMAL, Reply, Request, bad_query, json_reply
from tap_d365fo.sandbox.table import Table
from tap_d365fo.sandbox.values import fold_insensitive

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from tap_d365fo.edm.model import EnumMember, EnumType, NavigationProperty, Property
    from tap_d365fo.sandbox.dataset import Dataset
    from tap_d365fo.sandbox.switches import Switches

Item = dict[str, Any]

_PATH = re.compile(r"/metadata/(?P<name>\w+)(?:\((?P<key>.*)\))?$", re.IGNORECASE | re.DOTALL)
_QUOTED = re.compile(r"'((?:[^']|'')*)'")
_WORDS = re.compile(r"V\d+$|[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_KNOWN_LABELS = {"@sys13342": "Company", "@sys2048": "No", "@sys5461": "Yes"}
_LABEL_KEYS = 2  # id and language
_UNPUBLISHED = ("BankStagingTransferEntity", "DMFQuickImportEntity", "SysInternalCacheEntity")


class Landscape:
    """What an environment says about itself. Safe for many threads."""

    def __init__(self, dataset: Dataset, switches: Switches) -> None:
        self._dataset, self._switches = dataset, switches
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str, int], Any] = {}

    def other_sets(self) -> Mapping[str, EntityDefinition]:
        """Return the entity sets without rows, by name."""
        if self._switches["metadata.scale"] != "full":
            return {}
        names = frozenset(self._dataset.names)
        found: Mapping[str, EntityDefinition] = self._once(
            "others", lambda: {each.name: each for each in full_size(names)}
        )
        return found

    def definitions(self) -> tuple[EntityDefinition, ...]:
        """Return every entity."""
        return (*self._dataset.definitions, *self.other_sets().values())

    def csdl_reply(self) -> Reply:
        """Answer `$metadata`."""
        body, packed = self._once("csdl", lambda: _packed(csdl(self.definitions())))
        gzipped = self._switches["metadata.gzip"] == "on"
        delay = self._switches.number("metadata.delay_s")
        return Reply(200, body, "application/xml", may_compress=gzipped, packed=packed, delay_s=delay)

    def metadata_service(self, request: Request) -> Reply:
        """Answer what stands under `/metadata`."""
        found = _PATH.match(request.path)
        name = found["name"].lower() if found else ""
        key = [each.replace("''", "'") for each in _QUOTED.findall(found["key"] or "")] if found else []
        if name == "labels":
            return self._label(request, key)
        if name not in _COLLECTIONS:
            return Reply(404, b"", None)
        title, columns, make = _COLLECTIONS[name]
        collection: _Collection = self._once(
            name, lambda: _Collection(title, columns, make(self.definitions()))
        )
        base = f"https://{request.host}/metadata/$metadata"
        if key:
            item = collection.item(key[0])
            return Reply(404, b"", None) if item is None else _one(item, f"{base}#{title}/$entity")
        try:
            return collection.answer(request.options, f"{base}#{title}")
        except QueryError as error:
            return bad_query(str(error))

    def _label(self, request: Request, key: list[str]) -> Reply:
        if len(key) != _LABEL_KEYS:
            return Reply(404, b"", None)
        context = f"https://{request.host}/metadata/$metadata#Labels/$entity"
        label_id, language = key
        return _one({"Id": label_id, "Language": language, "Value": label_text(label_id)}, context)

    def _once(self, what: str, make: Callable[[], Any]) -> Any:
        """Return what `make` makes, kept until the entities or the scale change."""
        wanted = (what, str(self._switches["metadata.scale"]), self._dataset.version)
        found = self._kept.get(wanted)
        if found is None:
            found = make()
            with self._lock:
                self._kept = {each: kept for each, kept in self._kept.items() if each[1:] == wanted[1:]}
                self._kept[wanted] = found
        return found


def label_text(label_id: str) -> str:
    """Return the text behind a label id: the words of its last part."""
    known = _KNOWN_LABELS.get(label_id.lower())
    if known or not label_id.startswith("@"):
        return known or label_id
    name = label_id.rpartition(":")[2]
    first, *rest = _WORDS.findall(name.removesuffix("Help")) or [label_id]
    text = " ".join(
        [first[:1].upper() + first[1:], *(each if each.isupper() else each.lower() for each in rest)]
    )
    return f"Shows {text.lower()}." if name.endswith("Help") else text


def _packed(body: bytes) -> tuple[bytes, bytes]:
    return body, gzip.compress(body, compresslevel=1, mtime=0)


def _one(item: Item, context: str) -> Reply:
    return json_reply({"@odata.context": context, **item}, content_type=JSON_MINIMAL)


class _Collection:
    """Things to list, look up by their first column, and filter by their plain columns."""

    def __init__(self, title: str, columns: str, items: Iterable[Item]) -> None:
        names = [each.partition(":")[0] for each in columns.split()]
        self._items = {str(each[names[0]]): each for each in items}
        self._table = Table(define(title, title, "", columns, in_order=True, etag_pairs=0), Random(0))
        self._table.load({name: each[name] for name in names} for each in self._items.values())

    def item(self, key: str) -> Item | None:
        return self._items.get(key)

    def answer(self, options: Mapping[str, str], context: str) -> Reply:
        rows = list(zip(self._table.stored(), self._items.values(), strict=True))
        if "$filter" in options:
            layout = self._table.layout
            wanted = parse_filter(options["$filter"], layout, fold_insensitive)
            passes = compile_filter(wanted, layout, fold_insensitive)
            rows = [each for each in rows if passes(each[0])]
        items = [item for _, item in rows][_whole(options, "$skip", 0) :][
            : _whole(options, "$top", len(rows))
        ]
        if select := [each.strip() for each in options.get("$select", "").split(",") if each.strip()]:
            items = [{name: each[name] for name in select if name in each} for each in items]
            context += f"({','.join(select)})"
        count = {"@odata.count": len(rows)} if options.get("$count") == "true" else {}
        return json_reply({"@odata.context": context, **count, "value": items})


def _whole(options: Mapping[str, str], name: str, otherwise: int) -> int:
    text = options.get(name, "")
    return int(text) if text.isdigit() else otherwise  # odd values are tolerated here


def _data_entities(definitions: Iterable[EntityDefinition]) -> Iterable[Item]:
    for each in definitions:
        yield _data_entity(each.aot_name, each.entity_type.name, each.name, each)
    for name in _UNPUBLISHED:
        yield _data_entity(name, "", "", None)


def _data_entity(aot_name: str, type_name: str, set_name: str, each: EntityDefinition | None) -> Item:
    number = zlib.crc32(aot_name.encode()) - 2**31
    return {
        "@odata.etag": f'W/"{_etag(number)}"',
        "Name": aot_name,
        "PublicEntityName": type_name,
        "PublicCollectionName": set_name,
        "LabelId": each.entity_type.label if each else f"@Sandbox:{aot_name}",
        "DataServiceEnabled": each is not None,
        "DataManagementEnabled": True,
        "EntityCategory": each.category if each else None,
        "IsReadOnly": bool(each and each.append_only),
    }


def _etag(number: int) -> str:
    return base64.b64encode(f"'{number}'".encode()).decode()


def _public_entities(definitions: Iterable[EntityDefinition]) -> Iterable[Item]:
    for each in definitions:
        entity_type = each.entity_type
        keys = frozenset(entity_type.key)
        yield {
            "Name": entity_type.name,
            "EntitySetName": each.name,
            "LabelId": entity_type.label,
            "IsReadOnly": each.append_only,
            "ConfigurationEnabled": True,
            "Properties": [
                _public_property(column, is_key=column.name in keys) for column in entity_type.properties
            ],
            "NavigationProperties": [
                _public_navigation(relation) for relation in entity_type.navigation_properties
            ],
            "PropertyGroups": [{"Name": "AutoReport", "Properties": list(entity_type.key)}],
            "Actions": [],
        }


def _public_property(column: Property, *, is_key: bool) -> Item:
    return {
        "Name": column.name,
        "TypeName": column.type,
        "DataType": column.ax_type,
        "LabelId": column.label,
        "IsKey": is_key,
        "IsMandatory": is_key,
        "ConfigurationEnabled": True,
        "AllowEdit": not is_key,
        "AllowEditOnCreate": True,
        "IsDimension": False,
        "DimensionRelation": None,
        "IsDynamicDimension": False,
        "DimensionLegalEntityProperty": None,
        "DimensionTypeProperty": None,
    }


def _public_navigation(relation: NavigationProperty) -> Item:
    kind = "#Microsoft.Dynamics.Metadata.ReferentialConstraint"
    return {
        "Name": relation.name,
        "RelatedEntity": relation.type.rpartition(".")[2],
        "RelatedRelationName": relation.partner,
        "Cardinality": "Multiple" if relation.is_collection else "Single",
        "Constraints": [
            {"@odata.type": kind, "Property": here, "ReferencedProperty": there}
            for here, there in relation.constraints
        ],
    }


def _public_enumerations(definitions: Iterable[EntityDefinition]) -> Iterable[Item]:
    enums = {each.name: each for definition in definitions for each in definition.enums}
    return map(_public_enumeration, enums.values())


def _public_enumeration(each: EnumType) -> Item:
    def member(one: EnumMember) -> Item:
        return {"Name": one.name, "Value": one.value, "LabelId": one.label, "ConfigurationEnabled": True}

    return {
        "Name": each.name,
        "LabelId": f"@Enums:{each.name}",
        "Members": [member(one) for one in each.members],
    }


_COLLECTIONS: Mapping[str, tuple[str, str, Callable[[Iterable[EntityDefinition]], Iterable[Item]]]] = {
    "dataentities": (
        "DataEntities",
        (
            "Name PublicEntityName PublicCollectionName LabelId DataServiceEnabled:b DataManagementEnabled:b "
            "EntityCategory IsReadOnly:b"
        ),
        _data_entities,
    ),
    "publicentities": (
        "PublicEntities",
        "Name EntitySetName LabelId IsReadOnly:b ConfigurationEnabled:b",
        _public_entities,
    ),
    "publicenumerations": ("PublicEnumerations", "Name LabelId", _public_enumerations),
}
