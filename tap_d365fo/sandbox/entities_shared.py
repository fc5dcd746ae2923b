"""Built-in entities that belong to no company, and those of data management."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tap_d365fo.sandbox import columns as spec
from tap_d365fo.sandbox.seeding import (
    COMPANIES,
    LAST_DAY,
    Maker,
    declare,
    maybe,
)
from tap_d365fo.sandbox.values import NO_INSTANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tap_d365fo.sandbox.definition import EntityDefinition, Row


def _legal_entities(_maker: Maker) -> EntityDefinition:
    names = (
        "Company accounts data",
        "Contoso Entertainment System USA",
        "Contoso Consulting USA",
        "Contoso Entertainment System Germany",
        "Contoso Retail Great Britain",
    )

    def rows() -> Iterator[Row]:
        for company, name in zip(COMPANIES, names, strict=True):
            yield {
                "LegalEntityId": company,
                "Name": name,
                "NameAlias": name,
                "LegalNature": None,
                "AddressTimeZone": None,
                "TimeZone": "GMTMINUS0500EASTERNTIME",
                "LanguageId": "en-US",
                "PartyNumber": "{02C74274-D10E-4052-A372-2B53E9F6AE" + f"{len(name):02d}" + "}",
            }

    return declare(
        "LegalEntities",
        "LegalEntity",
        "LegalEntityId",
        spec.LEGAL_ENTITIES,
        aot_name="OMLegalEntity",
        category="Reference",
        module="OrganizationAdministration",
        etag_pairs=3,
        rows=rows,
    )


def _units(_maker: Maker) -> EntityDefinition:
    known = (
        ("LUMP", "LUMP_SUM", "Undefined"),
        ("pcs", "Pcs", "Quantity"),
        ("kg", "Kilogram", "Mass"),
        ("ea", "Each", "Quantity"),
        ("m²", "Square metre", "Undefined"),
        ("%", "Per cent", "Undefined"),
    )

    def rows() -> Iterator[Row]:
        for symbol, description, unit_class in known:
            yield {"UnitSymbol": symbol, "UnitDescription": description, "UnitClass": unit_class}

    return declare(
        "UnitsOfMeasure",
        "UnitOfMeasure",
        "UnitSymbol",
        spec.UNITS,
        aot_name="UnitOfMeasureEntity",
        category="Reference",
        module="OrganizationAdministration",
        etag_pairs=5,
        rows=rows,
    )


def _worker(rng: Random, _company: str, number: int) -> Row:
    first, last = rng.choice(("Devin", "Julia", "Sam", "Zoë")), rng.choice(("Daniels", "Funder", "O'Neil"))
    return {
        "PersonnelNumber": f"{number:06d}",
        "Name": f"{first} {last}",
        "NameAlias": f"{first} {last}",
        "FirstName": first,
        "LastName": last,
        "BirthDate": maybe(rng, date(1970, 1, 1) + timedelta(days=rng.randint(0, 9000)), date(1900, 1, 1)),
        "OriginalHireDateTime": maybe(rng, LAST_DAY - timedelta(days=rng.randint(1, 4000)), NO_INSTANT),
        "Gender": rng.choice(("Unknown", "Female", "Male")),
        "LanguageId": "en-US",
        "PartyNumber": f"{rng.randint(1, 10**9):09d}",
    }


def _workers(maker: Maker) -> EntityDefinition:
    return declare(
        "Workers",
        "Worker",
        "PersonnelNumber",
        spec.WORKERS,
        aot_name="HcmWorkerEntity",
        module="HumanResources",
        etag_pairs=7,
        rows=maker.numbered("Workers", _worker, 40),
        make=_worker,
        touch=("Name", "TitleId"),
    )


def _cash_control(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for number in range(1, 8):
            yield {
                "CashControlMethod": "Manual" if number % 2 else "Automatic",
                "ConfigurationName": f"Register {(number + 1) // 2}",
                "MaximumCashAmount": Decimal(500 * number),
                "CurrencyCode": "USD",
            }

    return declare(
        "CashControlConfigurations",
        "CashControlConfiguration",
        "",
        spec.CASH_CONTROL,
        in_order=False,
        aot_name="CashControlConfigurationEntity",
        category="Parameters",
        module="Retail",
        rows=rows,
    )


def _data_management(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for label, target in (("Customers V3", "CustCustomerV3Entity"), ("Vendors V2", "VendVendorV2Entity")):
            yield {"EntityName": label, "TargetEntity": target, "EntityCategory": "Master"}

    return declare(
        "DataManagementEntities",
        "DataManagementEntity",
        "EntityName",
        spec.DATA_MANAGEMENT_ENTITIES,
        in_order=False,
        aot_name="DMFEntityEntity",
        category="Parameters",
        module="DataManagement",
        rows=rows,
    )


def _data_projects(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for name in ("SandboxExport", "SandboxIncremental"):
            yield {"Name": name, "Description": "Made with the sandbox"}

    return declare(
        "DataManagementDefinitionGroups",
        "DataManagementDefinitionGroup",
        "Name",
        "Name Description OperationType GenerateDataPackage:n",
        aot_name="DMFDefinitionGroupEntity",
        category="Parameters",
        module="DataManagement",
        rows=rows,
    )


ENTITIES: tuple[Callable[[Maker], EntityDefinition], ...] = (
    _legal_entities,
    _units,
    _workers,
    _cash_control,
    _data_management,
    _data_projects,
)
