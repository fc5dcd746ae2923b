"""The entities that are measured: their columns, and the templates that their rows are made from.

Columns are of F&O's kinds in about F&O's mixture: many strings (some empty), decimals, enum members as text,
Int64, instants and AX dates, of which many are 1900-01-01.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from tap_d365fo.edm.model import DATA_AREA_ID, Property
from tap_d365fo.sandbox.definition import EntityDefinition, define, enum

_STATUS = enum("BenchStatus", "None Open Invoiced Posted Cancelled")
_TEMPLATES = 64
FIRST_REC_ID = 5637144576


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_WORDS = _words(
    """
    Wholesale Retail Net30 Domestic Export Standard Premium Renton Warehouse Freight Lease Überseehandel
    Maintenance Contoso Entertainment System Consulting Services Quarterly Approved Manual
    """
)

_SUBJECTS = _words("Delivery Invoice Payment Contact Tax Inventory Fiscal Shipping Credit Project")
_ASPECTS = _words("Group Address Amount Status Code Profile Quantity Name Date Reason")
_TYPES = _words("s r s n d s BenchStatus r s u")

_BENCH45 = """
 OrderAccountNumber:s InvoiceAccountNumber:s DeliveryAddressDescription:s PaymentTermsName:s
 CustomerReferenceText:s CurrencyCode:s SalesTaxGroupCode:s DefaultShippingSiteId:s DefaultWarehouseId:s
 DeliveryModeCode:s ContactPersonEmail:s LanguageId:s ProjectId:s DefaultLedgerDimensionDisplayValue:s
 OrderNotes:s
 LineDiscountAmount:r TotalChargeAmount:r ExchangeRate:r OrderedQuantity:r NetWeight:r CreditLimitAmount:r
 PricePerUnit:r CashDiscountPercentage:r RemainingInventoryQuantity:r TotalTaxAmount:r
 OriginatingLineRecordId:l PartyRecordId:l DeliveryAddressRecordId:l LedgerDimensionRecordId:l
 OrderStatus:BenchStatus DocumentStatus:BenchStatus ReleaseStatus:BenchStatus IsOneTimeAddress:n
 IsSalesProcessingStopped:n ArePricesIncludingTax:n
 RequestedShippingDate:d ConfirmedReceiptDate:d InvoicePostingDate:d BaselineDate:d
 ExecutedInstant:u PrintedInstant:u ValidFromInstant:u ValidToInstant:u
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """An entity set, how its second key column counts, and the values of its templates."""

    definition: EntityDefinition
    templates: tuple[dict[str, str], ...]
    """Per template, column to its value as JSON text."""

    @property
    def name(self) -> str:
        return self.definition.name

    @property
    def columns(self) -> tuple[str, ...]:
        return tuple(each.name for each in self.definition.entity_type.properties)

    @property
    def number_column(self) -> str:
        return self.definition.key[-1]

    @property
    def has_integer_key(self) -> bool:
        return self._property(self.number_column).type == "Edm.Int64"

    def _property(self, name: str) -> Property:
        return next(each for each in self.definition.entity_type.properties if each.name == name)


SMALL = tuple(f"Small{number:03}" for number in range(1, 201))
"""Entities of one page."""


def shapes() -> Iterator[Shape]:
    """Yield every entity there is."""
    yield from map(shape_named, ("Bench45", "Bench300", "Bench60", *SMALL))


def shape_named(name: str) -> Shape:
    """Return one entity: of 45 columns, of 300, of 60, or a small one."""
    if name in SMALL:
        return _shape(name, "SetupCode:s", _columns(12))
    key, spec = {
        "Bench45": ("SalesVoucherNumber:s", _BENCH45),
        "Bench300": ("RegistrationRecordId:l", _columns(298)),
        "Bench60": ("DocumentNumber:s", _columns(58)),
    }[name]
    return _shape(name, key, spec)


def _shape(name: str, key: str, spec: str) -> Shape:
    key_names = f"{DATA_AREA_ID} {key.partition(':')[0]}"
    definition = define(
        name, name.rstrip("s") + "Type", key_names, f"{DATA_AREA_ID}:s {key} {spec}", enums=[_STATUS]
    )
    rng = Random(name)
    columns = [each for each in definition.entity_type.properties if each.name not in definition.key]
    made = tuple({each.name: _value(each, definition, rng) for each in columns} for _ in range(_TEMPLATES))
    return Shape(definition, made)


def _columns(count: int) -> str:
    """Return so many columns, named at F&O's length, in about F&O's mixture of types."""
    return " ".join(
        f"{_SUBJECTS[number % 10]}{_ASPECTS[number // 10 % 10]}Field{number:03}:{_TYPES[number % 10]}"
        for number in range(count)
    )


def _value(column: Property, definition: EntityDefinition, rng: Random) -> str:
    members = definition.enum_of(column)
    if members is not None:
        return json.dumps(rng.choice(members.members).name)
    return _MAKERS[column.type, column.ax_type](rng)


def _text(rng: Random) -> str:
    words = " ".join(rng.sample(_WORDS, rng.randint(1, 3))) if rng.random() > 0.35 else ""
    return json.dumps(words + ' "A/4"' if rng.random() < 0.02 else words, ensure_ascii=False)


def _decimal(rng: Random) -> str:
    return "0" if rng.random() < 0.2 else f"{rng.randint(1, 99_999)}.{rng.randint(0, 99):02}0000"


def _stamp(rng: Random, *, time: str, empty_time: str) -> str:
    if rng.random() < 0.4:
        return f'"1900-01-01T{empty_time}Z"'
    return f'"20{rng.randint(10, 26)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}T{time}Z"'


_MAKERS = {
    ("Edm.String", "String"): _text,
    ("Edm.Decimal", "Real"): _decimal,
    ("Edm.Int64", "Int64"): lambda rng: str(FIRST_REC_ID + rng.randint(0, 10**9)),
    ("Edm.Int32", "Int32"): lambda rng: str(rng.randint(0, 10_000)),
    ("Edm.DateTimeOffset", "Date"): lambda rng: _stamp(rng, time="12:00:00", empty_time="12:00:00"),
    ("Edm.DateTimeOffset", "UtcDateTime"): lambda rng: _stamp(
        rng, time=f"{rng.randint(0, 23):02}:30:15", empty_time="00:00:00"
    ),
}
