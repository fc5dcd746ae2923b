"""The built-in environment: some twenty entities that look like F&O's, in five legal entities.

Rows are the same for the same seed. They hold on purpose what breaks pipelines: keys with blanks, quotes,
wildcards and slashes, values with line breaks and emoji, decimals of twenty digits, Int64 beyond 2^53,
stamps that are empty or equal.
"""

from __future__ import annotations

import functools
from datetime import date, datetime, timedelta, timezone
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any
from uuid import UUID

from tap_d365fo.edm.model import NavigationProperty
from tap_d365fo.sandbox import columns as spec
from tap_d365fo.sandbox.dataset import Clock, Dataset
from tap_d365fo.sandbox.definition import EntityDefinition, MakeRow, Row, define
from tap_d365fo.sandbox.values import END_OF_TIME, FIRST_REC_ID, NAMESPACE, NO_INSTANT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

COMPANIES = {"dat": "DAT", "usmf": "US", "ussi": "SI", "demf": "DE", "gbsi": "GB"}
"""Legal entity to the prefix of its numbers."""
ODD_KEYS = (
    " RFI-TEST-001",
    "O'Brien & Söhne",
    "A*B",
    "A/B (50%)",
    "a#b?c=d+e;f",
    "\U0001f642-001",
    "back\\slash",
    'say "hi"',
    "trailing ",
    "Ünïcödé",
    "日本-01",
)
BEYOND_DOUBLE = 2**53 + 1

_PADDED = 0.2
_LAST_DAY = datetime(2026, 3, 2, 8, 0, tzinfo=timezone.utc)
_NAMES = [
    "Contoso",
    "Fabrikam",
    "Northwind",
    "Litware",
    "Tailspin",
    "Wingtip",
    "Adatum",
    "Proseware",
    "Trey",
    "Fourth",
]
_KINDS = [
    "Retail",
    "Wholesale",
    "Trading",
    "Sports",
    "Imports",
    "Electronics",
    "Foods",
    "Airlines",
    "Research",
    "Coffee",
]
_ODD_TEXTS = (
    "line one\nline two\ttabbed",
    'a "quoted" word',
    "smile 😀 and 漢字",
    "C:\\temp\\new",
    "",
    "it's 100 % *sure*",
)


def built_in(*, seed: int = 0, scale: float = 1.0, clock: Clock | None = None) -> Dataset:
    """Return the built-in environment; `scale` multiplies its rows."""
    return _pristine(seed, scale).copy(clock)


@functools.lru_cache(maxsize=2)
def _pristine(seed: int, scale: float) -> Dataset:
    # Rows are frozen, so sandboxes side by side can share them and begin at once.
    return Dataset([make(_Maker(seed, scale)) for make in _ENTITIES], seed=seed)


class _Maker:
    """What the entities below are made with: a seed, and how many rows of each."""

    def __init__(self, seed: int, scale: float) -> None:
        self.seed, self.scale = seed, scale

    def count(self, rows: float) -> int:
        return max(1, round(rows * self.scale))

    def by_company(
        self, name: str, make: MakeRow, rows: int, *, odd: str = ""
    ) -> Callable[[], Iterator[Row]]:
        """Return rows in every legal entity; `odd` names the key column that takes the odd keys."""

        def found() -> Iterator[Row]:
            for company in COMPANIES:
                rng = Random(f"{self.seed}/{name}/{company}")
                share = {"usmf": 2.0, "dat": 0.4, "gbsi": 0.3}.get(company, 1.0)
                for number in range(1, self.count(rows * share) + 1):
                    yield make(rng, company, number)
                for place, key in enumerate(ODD_KEYS if odd and company in ("usmf", "demf") else ()):
                    yield {**make(rng, company, 900 + place), odd: key}

        return found

    def numbered(self, name: str, make: MakeRow, rows: int) -> Callable[[], Iterator[Row]]:
        """Return rows of an entity without a legal entity."""

        def found() -> Iterator[Row]:
            rng = Random(f"{self.seed}/{name}")
            for number in range(1, self.count(rows) + 1):
                yield make(rng, "", number)

        return found


def _define(name: str, type_name: str, key: str, columns: str, **rest: Any) -> EntityDefinition:
    rest.setdefault("in_order", True)
    return define(name, type_name, key, columns, enums=spec.ENUMS, **rest)


def _money(rng: Random, digits: int = 2, most: int = 10**6) -> Decimal:
    """Return an amount; some carry zeros at the end, as stored reals do."""
    amount = Decimal(rng.randint(0, most * 10**digits)).scaleb(-digits)
    return amount.quantize(Decimal("0.000001")) if rng.random() < _PADDED else amount


def _day(rng: Random, back: int = 700) -> date:
    return (_LAST_DAY - timedelta(days=rng.randint(0, back))).date()


def _company_name(rng: Random) -> str:
    return f"{rng.choice(_NAMES)} {rng.choice(_KINDS)}"


def _maybe(rng: Random, value: Any, blank: Any = "", share: float = 0.5) -> Any:
    return value if rng.random() < share else blank


def _customer(rng: Random, company: str, number: int) -> Row:
    name = _company_name(rng)
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
        "CreditLimit": _maybe(rng, _money(rng), Decimal(0)),
        "OnHoldStatus": rng.choice(("No", "No", "No", "All", "Invoice")),
        "InvoiceAddressTimeZone": _maybe(rng, "GMTMINUS0500EASTERNTIME", None),
        "AddressValidFrom": _maybe(rng, _LAST_DAY - timedelta(days=number % 3000), NO_INSTANT),
        "AddressValidTo": _maybe(rng, END_OF_TIME, NO_INSTANT),
        "AddressLongitude": _maybe(rng, Decimal(rng.randint(-180 * 10**6, 180 * 10**6)).scaleb(-6), 0),
        "CredManCustomerSince": _maybe(rng, _day(rng), date(1900, 1, 1)),
        "PrimaryContactEmailRecordId": _maybe(rng, FIRST_REC_ID + number, 0),
        "CredManNotes": rng.choice(_ODD_TEXTS),
        "PersonGender": rng.choice(("Unknown", "Female", "Male")),
        "FullPrimaryAddress": f"{number} Main Street\nSpringfield",
        "IsOneTimeCustomer": rng.choice(("No", "Yes")),
    }


def _customers(maker: _Maker) -> EntityDefinition:
    return _define(
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


def _vendor(rng: Random, company: str, number: int) -> Row:
    name = _company_name(rng)
    return {
        # One vendor's company is in capitals, as genuine answers have it now and then.
        "dataAreaId": company.upper() if (company, number) == ("dat", 3) else company,
        "VendorAccountNumber": f"{COMPANIES[company]}-V{number:06d}",
        "VendorOrganizationName": f"{name} {number}",
        "VendorGroupId": rng.choice(("10", "20", "Construct")),
        "Tax1099Type": _maybe(rng, "Tax1099MISC", None),
        "CreditLimit": _maybe(rng, _money(rng), 0),
        "VendorHoldReleaseDate": NO_INSTANT,
        "Notes": rng.choice(_ODD_TEXTS),
        "VendorPartyType": "Organization",
        "DefaultLedgerDimensionDisplayValue": rng.choice(("", "002-026--", "-023-")),
    }


def _vendors(maker: _Maker) -> EntityDefinition:
    return _define(
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
        "ProductSearchName": f"{rng.choice(_KINDS)}Item",
        "InventoryUnitSymbol": rng.choice(("pcs", "kg", "ea")),
        "SalesPrice": _money(rng, 2, 5000),
        "PurchasePrice": _money(rng, 4, 5000),
        "UnitCost": _maybe(rng, _money(rng, 8, 500), 0),
        "ShipStartDate": _maybe(rng, _day(rng), date(1900, 1, 1), 0.2),
        "ProductType": rng.choice(("Item", "Item", "Service")),
        "ValueABCCode": rng.choice(("None", "A", "B", "C")),
    }


def _products(maker: _Maker) -> EntityDefinition:
    return _define(
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
    name = _company_name(rng)
    return {
        "dataAreaId": company,
        "SalesOrderNumber": f"{COMPANIES[company]}-{number:06d}",
        "SalesOrderName": name,
        "DeliveryAddressName": name,
        "OrderingCustomerAccountNumber": f"{COMPANIES[company]}-{rng.randint(1, 12):03d}",
        "CurrencyCode": {"demf": "EUR", "gbsi": "GBP"}.get(company, "USD"),
        "OrderCreationDateTime": _LAST_DAY - timedelta(hours=7 * (number % 5000)),
        "RequestedShippingDate": _day(rng, 90),
        "SalesOrderStatus": rng.choice(("Backorder", "Invoiced", "Delivered")),
        "SalesOrderProcessingStatus": rng.choice(("Active", "Invoiced")),
        "OrderTotalAmount": _money(rng),
        "InvoiceAddressTimeZone": None,
        "TransportationDocumentLineId": _maybe(rng, str(UUID(int=rng.getrandbits(128))), str(UUID(int=0))),
        "Email": f"ap@{name.split()[0].lower()}.example",
    }


def _orders(maker: _Maker) -> EntityDefinition:
    lines = NavigationProperty(
        "SalesOrderLines",
        f"{NAMESPACE}.SalesOrderLineV3",
        is_collection=True,
        partner="SalesOrderHeader",
        constraints=(("dataAreaId", "dataAreaId"), ("SalesOrderNumber", "SalesOrderNumber")),
    )
    return _define(
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
    quantity, price = Decimal(rng.randint(1, 500)), _money(rng, 2, 900)
    return {
        "dataAreaId": company,
        "InventoryLotId": f"{COMPANIES[company]}-{number:08d}",
        "SalesOrderNumber": f"{COMPANIES[company]}-{(number + 2) // 3:06d}",
        "LineNumber": Decimal((number - 1) % 3 + 1),
        "ItemNumber": f"{rng.choice('DLMPT')}{rng.randint(1, 40):04d}",
        "OrderedSalesQuantity": quantity,
        "SalesPrice": price,
        "LineAmount": quantity * price,
        "LineDescription": rng.choice(_ODD_TEXTS),
        "SalesUnitSymbol": "ea",
        "RequestedShippingDate": _day(rng, 90),
        "SalesOrderLineStatus": rng.choice(("Backorder", "Invoiced")),
        "LineCreationSequenceNumber": number,
        "CurrencyCode": "USD",
    }


def _lines(maker: _Maker) -> EntityDefinition:
    return _define(
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


def _customer_groups(_maker: _Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for company in COMPANIES:
            for group, says in (("10", "Wholesale"), ("20", "Major"), ("30", "Retail")):
                yield {"dataAreaId": company, "CustomerGroupId": group, "Description": f"{says} customers"}
        yield {"dataAreaId": "ussi", "CustomerGroupId": "", "Description": "A group whose number is empty"}

    return _define(
        "CustomerGroups",
        "CustomerGroup",
        "dataAreaId CustomerGroupId",
        spec.CUSTOMER_GROUPS,
        aot_name="CustCustomerGroupEntity",
        category="Configuration",
        module="AccountsReceivable",
        rows=rows,
    )


def _account(rng: Random, _company: str, number: int) -> Row:
    return {
        "ChartOfAccounts": "Shared" if number % 3 else "General Chart",
        "MainAccountId": f"{110000 + 10 * number}",
        "MainAccountRecId": FIRST_REC_ID + number,
        "ChartOfAccountsRecId": FIRST_REC_ID,
        "Name": f"{rng.choice(_KINDS)} account {number}",
        "MainAccountType": rng.choice(("Asset", "Liability", "Revenue", "Expense")),
        "ActiveTo": _maybe(rng, date(2154, 12, 31), date(1900, 1, 1), 0.1),
        "ActiveFrom": _maybe(rng, _day(rng), date(1900, 1, 1), 0.3),
    }


def _main_accounts(maker: _Maker) -> EntityDefinition:
    return _define(
        "MainAccounts",
        "MainAccount",
        "ChartOfAccounts MainAccountId",
        spec.MAIN_ACCOUNTS,
        aot_name="MainAccountEntity",
        module="GeneralLedger",
        rows=maker.numbered("MainAccounts", _account, 60),
        make=_account,
        touch=("Name",),
    )


def _legal_entities(_maker: _Maker) -> EntityDefinition:
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

    return _define(
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


def _rate(rng: Random, _company: str, number: int) -> Row:
    currencies = ("EUR", "GBP", "JPY", "CHF")
    begin = (
        date(1900, 1, 1) if number <= len(currencies) else (_LAST_DAY - timedelta(days=number % 3000)).date()
    )
    return {
        "RateTypeName": rng.choice(("Default", "Budget")) if number > len(currencies) else "Default",
        "FromCurrency": "USD",
        "ToCurrency": currencies[number % 4],
        "StartDate": begin,
        "EndDate": date(2154, 12, 31),
        "Rate": Decimal(rng.randint(10**7, 10**9)).scaleb(-7),
        "ConversionFactor": "Hundred",
    }


def _exchange_rates(maker: _Maker) -> EntityDefinition:
    return _define(
        "ExchangeRates",
        "ExchangeRate",
        "RateTypeName FromCurrency ToCurrency StartDate",
        spec.EXCHANGE_RATES,
        in_order=False,
        aot_name="ExchangeRateEntity",
        category="Reference",
        module="GeneralLedger",
        etag_pairs=3,
        rows=maker.numbered("ExchangeRates", _rate, 80),
        make=_rate,
        touch=("Rate",),
    )


def _journal_line(rng: Random, company: str, number: int) -> Row:
    line = Decimal((number - 1) % 10 + 1)
    # Stored reals: whole ones, ones with zeros at the end, ones between two lines.
    line = (line, line.quantize(Decimal("0.0000000000")), line + Decimal("0.5"))[number % 3]
    amount = Decimal("123456789012345678.90") if number % 7 == 0 else _money(rng, 2)
    return {
        "dataAreaId": company,
        "JournalBatchNumber": f"{COMPANIES[company]}-{(number + 9) // 10:06d}",
        "LineNumber": line,
        "Voucher": f"GNJL{number:08d}",
        "TransDate": _day(rng, 365),
        "AccountType": rng.choice(("Ledger", "Cust", "Vend")),
        "AccountDisplayValue": f"{110000 + 10 * rng.randint(1, 60)}-001-",
        "Text": rng.choice(_ODD_TEXTS),
        "CurrencyCode": "USD",
        "DebitAmount": amount,
        "CreditAmount": Decimal(0) if number % 2 else -amount,
        "ExchangeRate": Decimal("100.0000000000000000"),
        "DueDate": _maybe(rng, _day(rng, 60), date(1900, 1, 1)),
        "PostedTime": rng.choice((0, 30600, 86399)),
    }


def _journal_lines(maker: _Maker) -> EntityDefinition:
    return _define(
        "LedgerJournalLines",
        "LedgerJournalLine",
        "dataAreaId JournalBatchNumber LineNumber",
        spec.JOURNAL_LINES,
        in_order=False,
        aot_name="LedgerJournalLineEntity",
        category="Transaction",
        module="GeneralLedger",
        etag_pairs=4,
        rows=maker.by_company("LedgerJournalLines", _journal_line, 60),
        make=_journal_line,
        touch=("Text", "DebitAmount"),
    )


def _transaction(rng: Random, company: str, number: int) -> Row:
    # Stamps come in bunches, as a posting run leaves them; some rows are older than the stamp itself.
    stamp = _LAST_DAY - timedelta(minutes=45 * (number // 4 % 20_000))
    is_old = number % 17 == 0
    source_key = BEYOND_DOUBLE + number if number % 9 == 0 else FIRST_REC_ID + 3 * number
    amount = _money(rng)
    return {
        "dataAreaId": company,
        "SourceKey": source_key,
        "SysModifiedDateTime": NO_INSTANT if is_old else stamp,
        "CreatedOn": NO_INSTANT if is_old else stamp - timedelta(days=1),
        "AccountNum": f"{COMPANIES[company]}-{rng.randint(1, 12):03d}",
        "Voucher": f"ARP-{number:07d}",
        "TransDate": _day(rng, 365),
        "AmountCur": amount,
        "AmountMST": amount * Decimal("1.13"),
        "CurrencyCode": "USD",
        "TransType": rng.choice(("Sales", "Payment")),
        "Txt": rng.choice(_ODD_TEXTS),
        "SysRecVersion": rng.randint(1, 2**31 - 1),
    }


def _without_stamps(make: MakeRow) -> MakeRow:
    """Return a maker for rounds of change, in which rows are stamped as they come in."""
    stamps = ("SysModifiedDateTime", "CreatedOn")
    return lambda rng, company, number: {
        name: value for name, value in make(rng, company, number).items() if name not in stamps
    }


def _transactions(maker: _Maker) -> EntityDefinition:
    return _define(
        "CustTransBiEntities",
        "CustTransBiEntity",
        "dataAreaId SourceKey",
        spec.CUSTOMER_TRANSACTIONS,
        in_order=False,
        aot_name="CustTransBiEntity",
        category="Transaction",
        module="AccountsReceivable",
        etag_pairs=1,
        modified="SysModifiedDateTime",
        created="CreatedOn",
        rows=maker.by_company("CustTransBiEntities", _transaction, 60),
        make=_without_stamps(_transaction),
        touch=("Txt", "SettleAmountCur"),
    )


def _entry(rng: Random, _company: str, number: int) -> Row:
    amount = _money(rng, 2) * rng.choice((1, -1))
    return {
        "SourceKey": FIRST_REC_ID + number,
        "AccountDisplayValue": f"{110000 + 10 * rng.randint(1, 60)}-001-",
        "AccountingCurrencyAmount": amount,
        "ReportingCurrencyAmount": amount,
        "TransactionCurrencyAmount": amount,
        "TransactionCurrencyCode": "USD",
        "IsCredit": "Yes" if amount < 0 else "No",
        "JournalNumber": f"{number // 4:06d}",
        "PostingType": rng.choice(("Sales", "Purch", "Payment")),
        "GeneralJournalEntry": BEYOND_DOUBLE + number // 4,
        "Text": rng.choice(_ODD_TEXTS),
    }


def _entries(maker: _Maker) -> EntityDefinition:
    return _define(
        "GeneralJournalAccountEntryBiEntities",
        "GeneralJournalAccountEntryBiEntity",
        "SourceKey",
        spec.JOURNAL_ENTRIES,
        in_order=False,
        aot_name="GeneralJournalAccountEntryBiEntity",
        category="Transaction",
        module="GeneralLedger",
        append_only=True,
        rows=maker.numbered("GeneralJournalAccountEntryBiEntities", _entry, 200),
        make=_entry,
    )


def _units(_maker: _Maker) -> EntityDefinition:
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

    return _define(
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
        "BirthDate": _maybe(rng, date(1970, 1, 1) + timedelta(days=rng.randint(0, 9000)), date(1900, 1, 1)),
        "OriginalHireDateTime": _maybe(rng, _LAST_DAY - timedelta(days=rng.randint(1, 4000)), NO_INSTANT),
        "Gender": rng.choice(("Unknown", "Female", "Male")),
        "LanguageId": "en-US",
        "PartyNumber": f"{rng.randint(1, 10**9):09d}",
    }


def _workers(maker: _Maker) -> EntityDefinition:
    return _define(
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


def _cash_control(_maker: _Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for number in range(1, 8):
            yield {
                "CashControlMethod": "Manual" if number % 2 else "Automatic",
                "ConfigurationName": f"Register {(number + 1) // 2}",
                "MaximumCashAmount": Decimal(500 * number),
                "CurrencyCode": "USD",
            }

    return _define(
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


def _posting_setups(_maker: _Maker) -> EntityDefinition:
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

    return _define(
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
        "FileContents": _maybe(rng, "JVBERi0xLjQKJeLjz9MK" * 20, None, 0.8),
        "AttachedDateTime": _LAST_DAY - timedelta(days=number % 3000),
        "SizeInBytes": 300,
    }


def _attachments(maker: _Maker) -> EntityDefinition:
    return _define(
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


def _shipment_settings(_maker: _Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for company in COMPANIES:
            for is_default in (True, False):
                yield {
                    "dataAreaId": company,
                    "IsDefaultSetting": is_default,
                    "SettingName": "Ground",
                    "MaximumWeight": Decimal("31.500"),
                }

    return _define(
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
        "AttributeText001": rng.choice(_ODD_TEXTS),
        "AttributeAmount001": _money(rng),
        "AttributeFlag001": "Yes",
    }


def _wide(maker: _Maker) -> EntityDefinition:
    kinds = (("Text", "s", 140), ("Amount", "r", 80), ("Flag", "n", 58), ("Date", "d", 20))
    columns = [f"Attribute{name}{n:03d}:{code}" for name, code, most in kinds for n in range(1, most + 1)]
    return _define(
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


def _data_management(_maker: _Maker) -> EntityDefinition:
    def rows() -> Iterator[Row]:
        for label, target in (("Customers V3", "CustCustomerV3Entity"), ("Vendors V2", "VendVendorV2Entity")):
            yield {"EntityName": label, "TargetEntity": target, "EntityCategory": "Master"}

    return _define(
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


_ENTITIES: tuple[Callable[[_Maker], EntityDefinition], ...] = (
    _customers,
    _customer_groups,
    _vendors,
    _products,
    _orders,
    _lines,
    _main_accounts,
    _legal_entities,
    _exchange_rates,
    _journal_lines,
    _transactions,
    _entries,
    _units,
    _workers,
    _cash_control,
    _posting_setups,
    _attachments,
    _shipment_settings,
    _wide,
    _data_management,
)
