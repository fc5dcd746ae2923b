"""Entity sets without rows, as many and as wide as a real environment has, the same ones every time.

The proportions follow what was counted in one: 3,868 sets and some 67,000 properties (median 9, mean 17,
most 305), keys of 0 to 20 columns, two sets in three scoped by company, some 2,000 enum types.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from random import Random
from typing import TYPE_CHECKING

from tap_d365fo.edm.model import DATA_AREA_ID, EntityType, EnumMember, EnumType, NavigationProperty
from tap_d365fo.sandbox.definition import NO_YES, EntityDefinition, columns
from tap_d365fo.sandbox.values import NAMESPACE

if TYPE_CHECKING:
    from collections.abc import Iterator

SETS = 3_868
_ENUMS = 2_000
_WITH_STAMP = 95
_BI = 230
_KEYLESS = 6
_RELATED, _TO_MANY, _SCOPED, _BI_SCOPED = 0.43, 0.47, 0.8, 0.8
_MEDIAN, _SPREAD, _WIDEST = 8.9, 1.15, 305


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_MODULES = _words(
    """
    AccountsPayable AccountsReceivable AssetManagement AuditWorkbench BankManagement Budgeting
    CashAndBank CostAccounting CostManagement CreditCollections DemandForecasting ExpenseManagement
    FixedAssets FleetManagement GeneralLedger HumanResources InventoryManagement LeaseAccounting
    MasterPlanning OrganizationAdministration Payroll Procurement ProductInformation
    ProductionControl ProjectAccounting QualityManagement Questionnaire Retail SalesAndMarketing
    ServiceManagement SystemAdministration Tax TimeAndAttendance TransportationManagement
    VendorCollaboration WarehouseManagement
    """
)
_SUBJECTS = _words(
    """
    Account Agreement Allocation Asset Attribute Bank Batch Bill Budget Calendar Campaign Case
    Category Charge Commission Contact Contract Cost Coupon Currency Customer Delivery Deposit
    Dimension Discount Document Employee Expense Facture Forecast Freight Fund Group Invoice Item
    Job Journal Kanban Ledger License Location Lot Maintenance Order Package Parameter Party Payment
    Period Policy Pool Position Posting Price Product Project Promotion Purchase Quality Quotation
    Rate Rebate Receipt Resource Return Route Sales Schedule Service Shift Shipment Site Skill
    Statement Store Tax Template Term Trade Transaction Transfer Unit Vendor Voucher Warehouse
    Warranty Wave Work Worker
    """
)
_ASPECTS = _words(
    """
    Header Line Group Setup Parameter Version Detail Assignment Rule Profile Link Type Code
    Hierarchy Criteria Translation Relation History Status Default Limit Charge Note Location Role
    """
)
_PARTS = _words(
    """
    Account Address Allowance Amount Approval Area Balance Barcode Base Basis Cancel City Code
    Comment Condition Confirmed Consolidation Country Credit Currency Date Days Debit Default
    Delivery Depth Description Dimension Discount Display Document Due Duration Email End Exchange
    External Factor Fee Fiscal Format From Group Height Identifier Index Interest Internal Invoice
    Journal Key Language Layout Length Level Limit Line Location Lot Main Maximum Memo Method
    Minimum Mode Model Month Name Net Note Notification Number Offset Option Order Origin Owner
    Package Party Payment Percent Period Phone Policy Pool Posting Precision Price Priority Process
    Product Profile Project Quantity Range Rate Reason Receipt Record Reference Region Registration
    Release Requested Reserve Rounding Route Sales Schedule Sequence Service Settlement Shipping
    Site Size Sort Source Start State Statement Status Step Store Street Tax Template Term Threshold
    Time Tolerance Total Tracking Transaction Type Unit Usage Valid Value Vendor Version Volume
    Voucher Warehouse Weight Width Worker Year Zone
    """
)
_CODES: tuple[tuple[str, int, tuple[str, ...]], ...] = (
    ("", 52, ("Id", "Name", "Code", "Number", "Description")),
    (":n", 11, ("Is",)),
    (":r", 12, ("Amount", "Quantity", "Percentage")),
    (":E", 11, ("Type", "Status", "Method")),
    (":i", 4, ("Sequence", "Days")),
    (":l", 4, ("RecId",)),
    (":d", 3, ("Date",)),
    (":u", 2, ("DateTime",)),
    (":g", 1, ("Guid",)),
)
_KEY_COUNTS = (
    (1, 580),
    (2, 1496),
    (3, 846),
    (4, 374),
    (5, 204),
    (6, 90),
    (7, 80),
    (8, 50),
    (9, 41),
    (12, 60),
    (16, 40),
)
_CATEGORIES = (("Master", 30), ("Configuration", 30), ("Reference", 15), ("Transaction", 12), ("Document", 8))


def full_size(taken: frozenset[str]) -> tuple[EntityDefinition, ...]:
    """Return as many entity sets as are wanting when the sets `taken` are there."""
    known = [each for each in _all() if each.name not in taken]
    return tuple(known[: SETS - len(taken)])


@functools.cache
def _all() -> tuple[EntityDefinition, ...]:
    rng = Random("fullsize")
    enums = tuple(_enum_types(rng))
    names = list(_names(rng))
    made = [_definition(rng, number, module, name, enums) for number, (module, name) in enumerate(names)]
    return tuple(_related(rng, made))


def _names(rng: Random) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    while len(seen) < SETS:
        module = rng.choice(_MODULES)
        name = f"{rng.choice(_SUBJECTS)}{rng.choice(_SUBJECTS)}{rng.choice(_ASPECTS)}"
        if name not in seen:
            seen.add(name)
            yield module, name


def _enum_types(rng: Random) -> Iterator[EnumType]:
    for number in range(_ENUMS):
        name = (
            f"{rng.choice(_SUBJECTS)}{rng.choice(_PARTS)}{rng.choice(('Type', 'Status', 'Method'))}{number}"
        )
        members = dict.fromkeys(["None", *(rng.choice(_PARTS) for _ in range(rng.randint(1, 9)))])
        yield EnumType(
            name, tuple(EnumMember(each, value, f"@{name}:{each}") for value, each in enumerate(members))
        )


def _definition(
    rng: Random, number: int, module: str, name: str, enums: tuple[EnumType, ...]
) -> EntityDefinition:
    is_bi = number < _BI
    key = [] if _BI <= number < _BI + _KEYLESS else _key(rng, is_bi=is_bi)
    width = min(_WIDEST, max(len(key) + 1, round(rng.lognormvariate(math.log(_MEDIAN), _SPREAD))))
    used: dict[str, EnumType] = {}
    spec = _columns(rng, width, key, enums, used)
    if is_bi and number < _WITH_STAMP:
        spec["SysModifiedDateTime"] = ":u"
    names = tuple(key)
    properties = columns(" ".join(each + code for each, code in spec.items()), key=names, module=module)
    type_name = f"{name}BiEntity" if is_bi else name + rng.choice(("", "", "", "V2"))
    set_name = f"{name}BiEntities" if is_bi else _plural(type_name)
    entity_type = EntityType(type_name, names, properties, label=f"@{module}:{set_name}")
    category = rng.choices([each for each, _ in _CATEGORIES], [weight for _, weight in _CATEGORIES])[0]
    known = [NO_YES] if any(each.type.endswith(".NoYes") for each in properties) else []
    return EntityDefinition(
        set_name,
        entity_type,
        aot_name=f"{type_name}Entity",
        category=category,
        enums=(*known, *used.values()),
        etag_pairs=rng.randint(1, 8),
        modified="SysModifiedDateTime" if "SysModifiedDateTime" in spec else None,
    )


def _key(rng: Random, *, is_bi: bool) -> list[str]:
    if is_bi:
        return [DATA_AREA_ID, "SourceKey"] if rng.random() < _BI_SCOPED else ["SourceKey"]
    count = rng.choices([each for each, _ in _KEY_COUNTS], [weight for _, weight in _KEY_COUNTS])[0]
    scoped = [DATA_AREA_ID] if rng.random() < _SCOPED and count > 1 else []
    found = dict.fromkeys(scoped)
    while len(found) < count:
        found[f"{rng.choice(_SUBJECTS)}{rng.choice(('Id', 'Code', 'Number', 'Name'))}"] = None
    return list(found)


def _columns(
    rng: Random, width: int, key: list[str], enums: tuple[EnumType, ...], used: dict[str, EnumType]
) -> dict[str, str]:
    """Return names and codes, the key first and the rest in no order at all."""
    weights = [weight for _, weight, _ in _CODES]
    found = {each: ":l" if each == "SourceKey" else _key_code(rng, each) for each in key}
    while len(found) < width:
        code, _, endings = rng.choices(_CODES, weights)[0]
        stem = f"{rng.choice(_PARTS)}{rng.choice(_PARTS)}"
        name = f"Is{stem}" if code == ":n" else f"{stem}{rng.choice(endings)}"
        if code == ":E":
            enum_type = rng.choice(enums)
            used[enum_type.name] = enum_type
            code = f":{enum_type.name}"
        found.setdefault(name, code)
    return found


def _key_code(rng: Random, name: str) -> str:
    if name == DATA_AREA_ID:
        return ""
    return rng.choices(["", ":d", ":r", ":l", ":i", ":g"], [88, 4, 4, 3, 2, 1])[0]


def _plural(name: str) -> str:
    stem, version = (name[:-2], "V2") if name.endswith("V2") else (name, "")
    return (
        f"{stem[:-1]}ies" if stem.endswith("y") else f"{stem}es" if stem.endswith("s") else f"{stem}s"
    ) + version


def _related(rng: Random, made: list[EntityDefinition]) -> Iterator[EntityDefinition]:
    """Give each entity relations to others; about two in five have some."""
    for each in made:
        count = rng.choice((1, 2, 3, 4, 6, 10)) if rng.random() < _RELATED else 0
        targets = {other.entity_type.name: other for other in rng.sample(made, count)}
        relations = tuple(
            _relation(each, other, is_many=rng.random() < _TO_MANY) for other in targets.values()
        )
        yield replace(each, entity_type=replace(each.entity_type, navigation_properties=relations))


def _relation(here: EntityDefinition, there: EntityDefinition, *, is_many: bool) -> NavigationProperty:
    name = there.name if is_many else there.entity_type.name
    key = there.key
    start = here.entity_type.properties[-1].name
    pairs = tuple((each if each == DATA_AREA_ID else start, each) for each in key)
    return NavigationProperty(
        f"Related{name}",
        f"{NAMESPACE}.{there.entity_type.name}",
        is_collection=is_many,
        partner=here.entity_type.name,
        constraints=pairs,
    )
