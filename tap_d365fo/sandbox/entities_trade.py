"""Built-in entities of trade: customers, vendors, products, sales orders and what hangs on them."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING
from uuid import UUID

from tap_d365fo.edm.model import NavigationProperty
from tap_d365fo.sandbox import columns as spec
from tap_d365fo.sandbox.seeding import (
    COMPANIES,
    KINDS,
    LAST_DAY,
    ODD_TEXTS,
    Maker,
    company_name,
    day,
    declare,
    maybe,
    money,
)
from tap_d365fo.sandbox.values import END_OF_TIME, FIRST_REC_ID, NAMESPACE, NO_INSTANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from random import Random

    from tap_d365fo.sandbox.definition import EntityDefinition, Row


def _customer(rng: Random, company: str, number: int) -> Row:
    name = company_name(rng)
    return {
        "dataAreaId": company,
        "CustomerAccount": f"{COMPANIES[company]}-{number:03d}",
        "PartyType": "Organization",
        "OrganizationName": f"{name} {number}",
        "NameAlias": name,
        "PartyNumber": f"{rng.randint(1, 10**9):09d}",
        "SalesCurrencyCode": {"demf": "EUR", "gbsi": "GBP"}.get(company, "USD"),
        "CustomerGroupId": rng.choice(("10", "20", "30")),
        "LanguageId": "de" if company == "demf" else "en-US",
        "CreditLimit": maybe(rng, money(rng), Decimal(0)),
        "OnHoldStatus": rng.choice(("No", "No", "No", "All", "Invoice")),
        "InvoiceAddressTimeZone": maybe(rng, "GMTMINUS0500EASTERNTIME", None),
        "AddressValidFrom": maybe(rng, LAST_DAY - timedelta(days=number % 3000), NO_INSTANT),
        "AddressValidTo": maybe(rng, END_OF_TIME, NO_INSTANT),
        "AddressLongitude": maybe(rng, Decimal(rng.randint(-180 * 10**6, 180 * 10**6)).scaleb(-6), 0),
        "CredManCustomerSince": maybe(rng, day(rng), date(1900, 1, 1)),
        "PrimaryContactEmailRecordId": maybe(rng, FIRST_REC_ID + number, 0),
        "CredManNotes": rng.choice(ODD_TEXTS),
        "PersonGender": rng.choice(("Unknown", "Female", "Male")),
        "FullPrimaryAddress": f"{number} Main Street\nSpringfield",
        "IsOneTimeCustomer": rng.choice(("No", "Yes")),
    }


def _customers(maker: Maker) -> EntityDefinition:
    return declare(
        "CustomersV3",
        "CustomerV3",
        "dataAreaId CustomerAccount",
        spec.CUSTOMERS,
        aot_name="CustCustomerV3Entity",
        module="AccountsReceivable",
        etag_pairs=11,
        refuses_functions=True,
        virtual=frozenset({"FullPrimaryAddress"}),
        rows=maker.by_company("CustomersV3", _customer, 40, odd="CustomerAccount"),
        make=_customer,
        touch=("OrganizationName", "CreditLimit", "SalesMemo"),
        navigation=(
            NavigationProperty(
                "CustomerGroup",
                f"{NAMESPACE}.CustomerGroup",
                constraints=(("dataAreaId", "dataAreaId"), ("CustomerGroupId", "CustomerGroupId")),
            ),
        ),
    )


def _customer_groups(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for company in COMPANIES:
            for group, says in (("10", "Wholesale"), ("20", "Major"), ("30", "Retail")):
                yield {"dataAreaId": company, "CustomerGroupId": group, "Description": f"{says} customers"}
        yield {"dataAreaId": "ussi", "CustomerGroupId": "", "Description": "A group whose number is empty"}

    return declare(
        "CustomerGroups",
        "CustomerGroup",
        "dataAreaId CustomerGroupId",
        spec.CUSTOMER_GROUPS,
        aot_name="CustCustomerGroupEntity",
        category="Configuration",
        module="AccountsReceivable",
        rows=rows,
    )


def _vendor(rng: Random, company: str, number: int) -> Row:
    name = company_name(rng)
    return {
        # One vendor's company is in capitals, as genuine answers have it now and then.
        "dataAreaId": company.upper() if (company, number) == ("dat", 3) else company,
        "VendorAccountNumber": f"{COMPANIES[company]}-V{number:06d}",
        "VendorOrganizationName": f"{name} {number}",
        "VendorGroupId": rng.choice(("10", "20", "Construct")),
        "Tax1099Type": maybe(rng, "Tax1099MISC", None),
        "CreditLimit": maybe(rng, money(rng), 0),
        "VendorHoldReleaseDate": NO_INSTANT,
        "Notes": rng.choice(ODD_TEXTS),
        "VendorPartyType": "Organization",
        "DefaultLedgerDimensionDisplayValue": rng.choice(("", "002-026--", "-023-")),
    }


def _vendors(maker: Maker) -> EntityDefinition:
    return declare(
        "VendorsV2",
        "VendorV2",
        "dataAreaId VendorAccountNumber",
        spec.VENDORS,
        aot_name="VendVendorV2Entity",
        module="AccountsPayable",
        etag_pairs=12,
        rows=maker.by_company("VendorsV2", _vendor, 20),
        make=_vendor,
        touch=("VendorOrganizationName", "Notes"),
    )


def _product(rng: Random, company: str, number: int) -> Row:
    return {
        "dataAreaId": company,
        "ItemNumber": f"{rng.choice('DLMPT')}{number:04d}",
        "ProductNumber": f"P{number:04d}",
        "ProductSearchName": f"{rng.choice(KINDS)}Item",
        "InventoryUnitSymbol": rng.choice(("pcs", "kg", "ea")),
        "SalesPrice": money(rng, 2, 5000),
        "PurchasePrice": money(rng, 4, 5000),
        "UnitCost": maybe(rng, money(rng, 8, 500), 0),
        "ShipStartDate": maybe(rng, day(rng), date(1900, 1, 1), 0.2),
        "ProductType": rng.choice(("Item", "Item", "Service")),
        "ValueABCCode": rng.choice(("None", "A", "B", "C")),
    }


def _products(maker: Maker) -> EntityDefinition:
    return declare(
        "ReleasedProductsV2",
        "ReleasedProductV2",
        "dataAreaId ItemNumber",
        spec.PRODUCTS,
        aot_name="EcoResReleasedProductV2Entity",
        module="ProductInformation",
        etag_pairs=19,
        rows=maker.by_company("ReleasedProductsV2", _product, 30, odd="ItemNumber"),
        make=_product,
        touch=("ProductSearchName", "SalesPrice"),
    )


def _order(rng: Random, company: str, number: int) -> Row:
    name = company_name(rng)
    return {
        "dataAreaId": company,
        "SalesOrderNumber": f"{COMPANIES[company]}-{number:06d}",
        "SalesOrderName": name,
        "DeliveryAddressName": name,
        "OrderingCustomerAccountNumber": f"{COMPANIES[company]}-{rng.randint(1, 12):03d}",
        "CurrencyCode": {"demf": "EUR", "gbsi": "GBP"}.get(company, "USD"),
        "OrderCreationDateTime": LAST_DAY - timedelta(hours=7 * (number % 5000)),
        "RequestedShippingDate": day(rng, 90),
        "SalesOrderStatus": rng.choice(("Backorder", "Invoiced", "Delivered")),
        "SalesOrderProcessingStatus": rng.choice(("Active", "Invoiced")),
        "OrderTotalAmount": money(rng),
        "InvoiceAddressTimeZone": None,
        "TransportationDocumentLineId": maybe(rng, str(UUID(int=rng.getrandbits(128))), str(UUID(int=0))),
        "Email": f"ap@{name.split()[0].lower()}.example",
    }


def _orders(maker: Maker) -> EntityDefinition:
    lines = NavigationProperty(
        "SalesOrderLines",
        f"{NAMESPACE}.SalesOrderLineV3",
        is_collection=True,
        partner="SalesOrderHeader",
        constraints=(("dataAreaId", "dataAreaId"), ("SalesOrderNumber", "SalesOrderNumber")),
    )
    return declare(
        "SalesOrderHeadersV2",
        "SalesOrderHeaderV2",
        "dataAreaId SalesOrderNumber",
        spec.SALES_ORDERS,
        aot_name="SalesOrderHeaderV2Entity",
        category="Document",
        module="SalesAndMarketing",
        etag_pairs=7,
        virtual=frozenset({"OrderTotalAmount"}),
        rows=maker.by_company("SalesOrderHeadersV2", _order, 25),
        make=_order,
        touch=("SalesOrderName", "Email"),
        navigation=(lines,),
    )


def _line(rng: Random, company: str, number: int) -> Row:
    quantity, price = Decimal(rng.randint(1, 500)), money(rng, 2, 900)
    return {
        "dataAreaId": company,
        "InventoryLotId": f"{COMPANIES[company]}-{number:08d}",
        "SalesOrderNumber": f"{COMPANIES[company]}-{(number + 2) // 3:06d}",
        "LineNumber": Decimal((number - 1) % 3 + 1),
        "ItemNumber": f"{rng.choice('DLMPT')}{rng.randint(1, 40):04d}",
        "OrderedSalesQuantity": quantity,
        "SalesPrice": price,
        "LineAmount": quantity * price,
        "LineDescription": rng.choice(ODD_TEXTS),
        "SalesUnitSymbol": "ea",
        "RequestedShippingDate": day(rng, 90),
        "SalesOrderLineStatus": rng.choice(("Backorder", "Invoiced")),
        "LineCreationSequenceNumber": number,
        "CurrencyCode": "USD",
    }


def _lines(maker: Maker) -> EntityDefinition:
    return declare(
        "SalesOrderLinesV3",
        "SalesOrderLineV3",
        "dataAreaId InventoryLotId",
        spec.SALES_LINES,
        in_order=False,
        aot_name="SalesOrderLineV3Entity",
        category="Document",
        module="SalesAndMarketing",
        etag_pairs=5,
        rows=maker.by_company("SalesOrderLinesV3", _line, 75),
        make=_line,
        touch=("LineDescription", "OrderedSalesQuantity"),
    )


def _posting_setups(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for company in COMPANIES:
            for code, target in (("All", ""), ("GroupId", "10"), ("GroupId", "20"), ("Table", "US-001")):
                yield {
                    "dataAreaId": company,
                    "AccountCode": code,
                    "CustomerAccountOrGroup": target,
                    "PostingProfile": "GEN",
                    "SummaryMainAccountIdDisplayValue": "130100",
                }

    return declare(
        "CustomerPostingSetups",
        "CustomerPostingSetup",
        "dataAreaId AccountCode CustomerAccountOrGroup",
        spec.POSTING_SETUPS,
        in_order=False,
        aot_name="CustPostingSetupEntity",
        category="Configuration",
        module="AccountsReceivable",
        etag_pairs=2,
        rows=rows,
    )


def _attachment(rng: Random, company: str, number: int) -> Row:
    return {
        "dataAreaId": company,
        "DocumentAttachmentId": str(UUID(int=rng.getrandbits(128), version=4)),
        "CustomerAccount": f"{COMPANIES[company]}-{rng.randint(1, 12):03d}",
        "FileName": f"contract {number}",
        "FileType": "pdf",
        "FileContents": maybe(rng, "JVBERi0xLjQKJeLjz9MK" * 20, None, 0.8),
        "AttachedDateTime": LAST_DAY - timedelta(days=number % 3000),
        "SizeInBytes": 300,
    }


def _attachments(maker: Maker) -> EntityDefinition:
    return declare(
        "CustomerDocumentAttachments",
        "CustomerDocumentAttachment",
        "dataAreaId DocumentAttachmentId",
        spec.ATTACHMENTS,
        in_order=False,
        aot_name="CustDocumentAttachmentEntity",
        category="Document",
        module="AccountsReceivable",
        etag_pairs=4,
        rows=maker.by_company("CustomerDocumentAttachments", _attachment, 6),
    )


def _shipment_settings(_maker: Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for company in COMPANIES:
            for is_default in (True, False):
                yield {
                    "dataAreaId": company,
                    "IsDefaultSetting": is_default,
                    "SettingName": "Ground",
                    "MaximumWeight": Decimal("31.500"),
                }

    return declare(
        "ShipmentLabelSettings",
        "ShipmentLabelSetting",
        "dataAreaId IsDefaultSetting SettingName",
        spec.SHIPMENT_SETTINGS,
        in_order=False,
        aot_name="TMSShipmentLabelSettingEntity",
        category="Configuration",
        module="Transportation",
        rows=rows,
    )


def _wide_row(rng: Random, company: str, number: int) -> Row:
    return {
        "dataAreaId": company,
        "ItemNumber": f"W{number:04d}",
        "AttributeText001": rng.choice(ODD_TEXTS),
        "AttributeAmount001": money(rng),
        "AttributeFlag001": "Yes",
    }


def _wide(maker: Maker) -> EntityDefinition:
    kinds = (("Text", "s", 140), ("Amount", "r", 80), ("Flag", "n", 58), ("Date", "d", 20))
    columns = [f"Attribute{name}{n:03d}:{code}" for name, code, most in kinds for n in range(1, most + 1)]
    return declare(
        "ProductAttributeMatrices",
        "ProductAttributeMatrix",
        "dataAreaId ItemNumber",
        " ".join(["dataAreaId", "ItemNumber", *columns]),
        in_order=False,
        aot_name="EcoResProductAttributeMatrixEntity",
        module="ProductInformation",
        etag_pairs=6,
        rows=maker.by_company("ProductAttributeMatrices", _wide_row, 10),
        make=_wide_row,
        touch=("AttributeText001", "AttributeAmount001"),
    )


ENTITIES: tuple[Callable[[Maker], EntityDefinition], ...] = (
    _customers,
    _customer_groups,
    _vendors,
    _products,
    _orders,
    _lines,
    _posting_setups,
    _attachments,
    _shipment_settings,
    _wide,
)
