"""Built-in entities of the ledger: accounts, rates, journals, transactions."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

from tap_d365fo.sandbox import columns as spec
from tap_d365fo.sandbox.seeding import (
    BEYOND_DOUBLE,
    COMPANIES,
    KINDS,
    LAST_DAY,
    ODD_TEXTS,
    Maker,
    day,
    declare,
    maybe,
    money,
)
from tap_d365fo.sandbox.values import FIRST_REC_ID, NO_INSTANT

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from tap_d365fo.sandbox.definition import EntityDefinition, MakeRow, Row


def _account(rng: Random, _company: str, number: int) -> Row:
    return {
        "ChartOfAccounts": "Shared" if number % 3 else "General Chart",
        "MainAccountId": f"{110000 + 10 * number}",
        "MainAccountRecId": FIRST_REC_ID + number,
        "ChartOfAccountsRecId": FIRST_REC_ID,
        "Name": f"{rng.choice(KINDS)} account {number}",
        "MainAccountType": rng.choice(("Asset", "Liability", "Revenue", "Expense")),
        "ActiveTo": maybe(rng, date(2154, 12, 31), date(1900, 1, 1), 0.1),
        "ActiveFrom": maybe(rng, day(rng), date(1900, 1, 1), 0.3),
    }


def _main_accounts(maker: Maker) -> EntityDefinition:
    return declare(
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


def _rate(rng: Random, _company: str, number: int) -> Row:
    currencies = ("EUR", "GBP", "JPY", "CHF")
    begin = (
        date(1900, 1, 1) if number <= len(currencies) else (LAST_DAY - timedelta(days=number % 40_009)).date()
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


def _exchange_rates(maker: Maker) -> EntityDefinition:
    return declare(
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
    amount = Decimal("123456789012345678.90") if number % 7 == 0 else money(rng, 2)
    return {
        "dataAreaId": company,
        "JournalBatchNumber": f"{COMPANIES[company]}-{(number + 9) // 10:06d}",
        "LineNumber": line,
        "Voucher": f"GNJL{number:08d}",
        "TransDate": day(rng, 365),
        "AccountType": rng.choice(("Ledger", "Cust", "Vend")),
        "AccountDisplayValue": f"{110000 + 10 * rng.randint(1, 60)}-001-",
        "Text": rng.choice(ODD_TEXTS),
        "CurrencyCode": "USD",
        "DebitAmount": amount,
        "CreditAmount": Decimal(0) if number % 2 else -amount,
        "ExchangeRate": Decimal("100.0000000000000000"),
        "DueDate": maybe(rng, day(rng, 60), date(1900, 1, 1)),
        "PostedTime": rng.choice((0, 30600, 86399)),
    }


def _journal_lines(maker: Maker) -> EntityDefinition:
    return declare(
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
    stamp = LAST_DAY - timedelta(minutes=45 * (number // 4 % 20_000))
    is_old = number % 17 == 0
    source_key = BEYOND_DOUBLE + number if number % 9 == 0 else FIRST_REC_ID + 3 * number
    amount = money(rng)
    return {
        "dataAreaId": company,
        "SourceKey": source_key,
        "SysModifiedDateTime": NO_INSTANT if is_old else stamp,
        "CreatedOn": NO_INSTANT if is_old else stamp - timedelta(days=1),
        "AccountNum": f"{COMPANIES[company]}-{rng.randint(1, 12):03d}",
        "Voucher": f"ARP-{number:07d}",
        "TransDate": day(rng, 365),
        "AmountCur": amount,
        "AmountMST": amount * Decimal("1.13"),
        "CurrencyCode": "USD",
        "TransType": rng.choice(("Sales", "Payment")),
        "Txt": rng.choice(ODD_TEXTS),
        "SysRecVersion": rng.randint(1, 2**31 - 1),
    }


def _without_stamps(make: MakeRow) -> MakeRow:
    """Return a maker for rounds of change, in which rows are stamped as they come in."""
    stamps = ("SysModifiedDateTime", "CreatedOn")
    return lambda rng, company, number: {
        name: value for name, value in make(rng, company, number).items() if name not in stamps
    }


def _transactions(maker: Maker) -> EntityDefinition:
    return declare(
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
    amount = money(rng, 2) * rng.choice((1, -1))
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
        "Text": rng.choice(ODD_TEXTS),
    }


def _entries(maker: Maker) -> EntityDefinition:
    return declare(
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


ENTITIES: tuple[Callable[[Maker], EntityDefinition], ...] = (
    _main_accounts,
    _exchange_rates,
    _journal_lines,
    _transactions,
    _entries,
)
