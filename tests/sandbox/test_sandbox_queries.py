"""What the sandbox answers to system query options: rows, order, pages, and refusals."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import quote

import pytest

from tap_d365fo.sandbox.dataset import Dataset
from tap_d365fo.sandbox.definition import define
from tap_d365fo.sandbox.server import Sandbox
from tap_d365fo.sandbox.values import fold_insensitive

ENUM = "Microsoft.Dynamics.DataEntities.CustVendorBlocked"
ALL = "cross-company=true&$orderby=dataAreaId,CustomerAccount"


def customers(calm, wanted=lambda _row: True):
    """The visible customers that pass, in the order of the key as the collation has it."""
    seen = [row for row in calm.box.truth("CustomersV3") if row["dataAreaId"] != "gbsi" and wanted(row)]
    return sorted(seen, key=lambda row: (row["dataAreaId"], fold_insensitive(row["CustomerAccount"])))


def accounts(rows):
    return [(row["dataAreaId"], row["CustomerAccount"]) for row in rows]


FILTERS = {
    "dataAreaId eq 'usmf'": lambda row: row["dataAreaId"] == "usmf",
    "dataAreaId eq 'USMF'": lambda row: row["dataAreaId"] == "usmf",
    "dataAreaId ne 'usmf'": lambda row: row["dataAreaId"] != "usmf",
    "CustomerAccount eq 'us-00*'": lambda row: row["CustomerAccount"].startswith("US-00"),
    "CustomerAccount ne '*-0*'": lambda row: "-0" not in row["CustomerAccount"],
    "CustomerAccount eq 'O''Brien & Söhne'": lambda row: row["CustomerAccount"] == "O'Brien & Söhne",
    "CustomerAccount gt 'US-079'": lambda row: (
        fold_insensitive(row["CustomerAccount"]) > fold_insensitive("US-079")
    ),
    f"OnHoldStatus eq {ENUM}'All'": lambda row: row["OnHoldStatus"] == "All",
    f"not (OnHoldStatus eq {ENUM}'No')": lambda row: row["OnHoldStatus"] != "No",
    "InvoiceAddressTimeZone eq null": lambda row: row["InvoiceAddressTimeZone"] is None,
    "CreditLimit gt 500000.5": lambda row: row["CreditLimit"] > Decimal("500000.5"),
    "CreditLimit mul 2 ge 1000000 and CreditLimit sub 1 lt 900000": lambda row: (
        row["CreditLimit"] * 2 >= 1000000 and row["CreditLimit"] - 1 < 900000
    ),
    "PrimaryContactEmailRecordId ge 5637144600": lambda row: row["PrimaryContactEmailRecordId"] >= 5637144600,
    "AddressValidFrom ge 2026-01-01T00:00:00Z": lambda row: row["AddressValidFrom"] >= "2026-01-01T00:00:00Z",
    "AddressValidFrom lt 2026-01-01T05:30:00+05:30": lambda row: (
        row["AddressValidFrom"] < "2026-01-01T00:00:00Z"
    ),
    "CredManCustomerSince eq 1900-01-01T12:00:00Z": lambda row: (
        row["CredManCustomerSince"] == "1900-01-01T12:00:00Z"
    ),
    "dataAreaId gt 'demf' or (dataAreaId eq 'demf' and CustomerAccount gt 'DE-030')": lambda row: (
        row["dataAreaId"] > "demf"
        or (
            row["dataAreaId"] == "demf"
            and fold_insensitive(row["CustomerAccount"]) > fold_insensitive("DE-030")
        )
    ),
    "(dataAreaId eq 'usmf' and CustomerAccount eq 'US-003') or (dataAreaId eq 'demf' and CustomerAccount eq 'DE-001')": (
        lambda row: (row["dataAreaId"], row["CustomerAccount"]) in {("usmf", "US-003"), ("demf", "DE-001")}
    ),
    "IsOneTimeCustomer eq Microsoft.Dynamics.DataEntities.NoYes'Yes' and (dataAreaId eq 'dat' or dataAreaId eq 'ussi')": (
        lambda row: row["IsOneTimeCustomer"] == "Yes" and row["dataAreaId"] in ("dat", "ussi")
    ),
}


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_yields_the_rows_it_names_in_key_order(calm, text):
    wanted = accounts(customers(calm, FILTERS[text]))

    found = calm.rows(f"/data/CustomersV3?{ALL}&$filter={quote(text)}", 7)

    assert accounts(found) == wanted
    assert wanted or "O''" in text
    count = calm.get(f"/data/CustomersV3/$count?cross-company=true&$filter={quote(text)}")
    assert (count.headers["Content-Type"], int(count.text)) == ("text/plain", len(wanted))


REFUSED = {
    "Nope eq 1": "Could not find a property named 'Nope' on type 'Microsoft.Dynamics.DataEntities.CustomerV3'.",
    "CustomerAccount in ('US-001')": "not supported",
    f"OnHoldStatus has {ENUM}'All'": "not supported",
    f"OnHoldStatus gt {ENUM}'All'": "incompatible types",
    "OnHoldStatus eq 'All'": "incompatible types",
    "OnHoldStatus eq 2": "incompatible types",
    f"OnHoldStatus eq {ENUM}'Nobody'": "not a valid enumeration",
    "contains(OrganizationName,'a')": "not supported",
    "year(AddressValidFrom) eq 2026": "not supported",
    "AddressValidFrom ge '2026-01-01T00:00:00Z'": "incompatible types",
    "AddressValidFrom ge 2026-01-01": "incompatible types",
    "CustomerAccount eq 5": "incompatible types",
    "FullPrimaryAddress eq 'x'": "cannot be filtered",
    "CustomerAccount eq 'open": "Syntax error",
    "(CustomerAccount eq 'a'": "Syntax error",
    "CustomerAccount": "single boolean value",
    "": "Syntax error",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_f_and_o_refuses_is_a_400_in_its_envelope(calm, text):
    answer = calm.get(f"/data/CustomersV3?$filter={quote(text)}")

    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "")
    assert REFUSED[text] in error["message"]
    assert REFUSED[text] in error["innererror"]["message"]


@pytest.mark.parametrize(
    "option",
    ["$select=Nope", "$orderby=Nope", "$orderby=FullPrimaryAddress", "$top=-1", "$apply=x", "$expand=Nope"],
)
def test_other_options_are_checked_as_well(calm, option):
    assert calm.get(f"/data/CustomersV3?{option}").status_code == 400


def test_functions_work_on_the_entities_that_have_them(calm):
    found = calm.rows("/data/VendorsV2?cross-company=true&$filter=contains(VendorOrganizationName,'contoso')")

    named = [row for row in calm.box.truth("VendorsV2") if "Contoso" in row["VendorOrganizationName"]]
    assert len(found) == len([row for row in named if row["dataAreaId"] != "gbsi"]) > 0


def test_guid_and_boolean_keys_compare_for_equality_only(calm):
    row = next(each for each in calm.box.truth("CustomerDocumentAttachments") if each["dataAreaId"] == "usmf")
    guid = row["DocumentAttachmentId"]

    base = "/data/CustomerDocumentAttachments?cross-company=true&$filter=DocumentAttachmentId"
    assert len(calm.rows(f"{base} eq {guid}")) == 1
    assert calm.get(f"{base} gt {guid}").status_code == 400
    base = "/data/ShipmentLabelSettings?cross-company=true&$filter=IsDefaultSetting"
    assert len(calm.rows(f"{base} eq true")) == 4
    assert calm.get(f"{base} gt false").status_code == 400


def test_company_rules(calm):
    assert {row["dataAreaId"] for row in calm.rows("/data/CustomersV3")} == {"dat"}
    foreign = calm.get("/data/CustomersV3?$filter=dataAreaId eq 'usmf'")
    assert (foreign.status_code, foreign.json()["value"]) == (200, [])
    everywhere = {row["dataAreaId"] for row in calm.rows("/data/CustomersV3?cross-company=true")}
    assert everywhere == {"dat", "usmf", "ussi", "demf"}
    assert calm.get("/data/Workers?cross-company=true").status_code == 200


def test_a_row_is_read_by_its_key(calm):
    account = quote("O''Brien & Söhne", safe="'")
    path = f"/data/CustomersV3(dataAreaId='usmf',CustomerAccount='{account}')"

    answer = calm.get(f"{path}?cross-company=true&$select=CustomerAccount")

    assert answer.json()["@odata.context"].endswith("#CustomersV3(CustomerAccount)/$entity")
    assert answer.json()["CustomerAccount"] == "O'Brien & Söhne"
    without = calm.get(path)
    assert (without.status_code, without.content) == (404, b"")
    assert calm.get("/data/CustomersV3(dataAreaId='usmf')").status_code == 400
    line = calm.box.truth("LedgerJournalLines")[0]
    key = f"dataAreaId='{line['dataAreaId']}',JournalBatchNumber='{line['JournalBatchNumber']}',LineNumber={line['LineNumber']}"
    assert (
        calm.get(f"/data/LedgerJournalLines({key})?cross-company=true").json()["Voucher"] == line["Voucher"]
    )


def test_select_sets_the_order_and_the_context(calm):
    row = calm.get("/data/CustomersV3?$select=CreditLimit,CustomerAccount&$top=1").json()

    assert row["@odata.context"].endswith("#CustomersV3(CreditLimit,CustomerAccount)")
    assert list(row["value"][0]) == ["@odata.etag", "CreditLimit", "CustomerAccount"]


def test_top_is_an_absolute_limit_and_page_size_is_not(calm):
    topped = calm.get("/data/CustomersV3?cross-company=true&$top=2").json()
    sized = calm.get("/data/CustomersV3?cross-company=true", Prefer="odata.maxpagesize=2").json()
    both = calm.rows(f"/data/CustomersV3?{ALL}&$top=5", 2)

    assert (len(topped["value"]), "@odata.nextLink" in topped) == (2, False)
    assert (len(sized["value"]), "@odata.nextLink" in sized) == (2, True)
    assert accounts(both) == accounts(customers(calm))[:5]


def test_the_count_is_that_of_all_pages(calm):
    page = calm.get(f"/data/CustomersV3?{ALL}&$count=true&$top=1&$filter=dataAreaId eq 'usmf'").json()

    assert list(page) == ["@odata.context", "@odata.count", "value"]
    assert page["@odata.count"] == len(customers(calm, lambda row: row["dataAreaId"] == "usmf"))


def test_expand_reads_the_first_level(calm):
    asked = "$select=SalesOrderNumber&$expand=SalesOrderLines($select=InventoryLotId,ItemNumber)"
    page = calm.get(f"/data/SalesOrderHeadersV2?$top=1&{asked}").json()

    wanted = (
        "#SalesOrderHeadersV2(SalesOrderNumber,SalesOrderLines,SalesOrderLines(InventoryLotId,ItemNumber))"
    )
    assert page["@odata.context"].endswith(wanted)
    lines = page["value"][0]["SalesOrderLines"]
    assert lines
    assert set(lines[0]) == {"@odata.etag", "InventoryLotId", "ItemNumber"}
    nested = calm.get("/data/SalesOrderHeadersV2?$expand=SalesOrderLines($filter=ItemNumber eq 'a')")
    assert nested.status_code == 400


def test_decimals_and_long_integers_are_sent_digit_by_digit(calm):
    lines = calm.get("/data/LedgerJournalLines?cross-company=true").text
    entries = calm.get("/data/CustTransBiEntities?cross-company=true").text

    assert '"DebitAmount":123456789012345678.90' in lines
    assert '"ExchangeRate":100.0000000000000000' in lines
    assert f'"SourceKey":{2**53 + 10}' in entries


def test_sets_that_do_not_exist_and_links_that_are_too_long(calm):
    assert "Resource not found for the segment 'Nope'." in calm.get("/data/Nope").text
    assert calm.get("/data/customersv3").status_code == 404
    long = calm.get("/data/CustomersV3?$filter=CustomerAccount eq '" + "x" * 5000 + "'")
    assert (long.status_code, long.headers["Content-Type"]) == (404, "text/html")
    assert "404.15" in long.text


FORMS = ["skip", "skiptoken", "opaque"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(
    "order", ["$orderby=dataAreaId,CustomerAccount", "$orderby=dataAreaId desc,CustomerAccount desc"]
)
def test_every_form_of_next_link_leads_to_every_row_once(caller, form, order):
    caller.box.switches["nextlink.form"] = form

    pages = caller.pages(
        f"/data/CustomersV3?cross-company=true&{order}&$select=dataAreaId,CustomerAccount", 13
    )

    found = [row for page in pages for row in page["value"]]
    wanted = accounts(customers(caller))
    assert accounts(found) == (wanted if "desc" not in order else wanted[::-1])
    links = [page["@odata.nextLink"] for page in pages[:-1]]
    assert all(("$skip=" in link) is (form == "skip") for link in links)
    assert all(("cross-company" in link) is (form != "opaque") for link in links)


@pytest.mark.parametrize(
    ("host", "begins"),
    [("same", "{url}/data/"), ("relative", "CustomersV3?"), ("path", "/data/"), ("other", "{foreign}/data/")],
)
def test_a_next_link_names_the_origin_that_the_switch_says(caller, host, begins):
    box = caller.box
    box.switches["nextlink.host"] = host

    link = caller.get("/data/CustomersV3", Prefer="odata.maxpagesize=1").json()["@odata.nextLink"]

    assert link.startswith(begins.format(url=box.url, foreign=box.foreign_url))


def test_without_an_order_offsets_lose_and_repeat_rows(caller):
    found = accounts(
        caller.rows("/data/CustomersV3?cross-company=true&$select=dataAreaId,CustomerAccount", 20)
    )

    assert len(found) == len(customers(caller))
    assert len(set(found)) < len(found)
    caller.box.switches["order.default"] = "key"
    stable = accounts(
        caller.rows("/data/CustomersV3?cross-company=true&$select=dataAreaId,CustomerAccount", 20)
    )
    assert stable == accounts(customers(caller))


def test_a_page_holds_10000_rows_at_most(caller):
    rows = [{"Number": number} for number in range(10_001)]
    dataset = Dataset([define("Numbers", "Number", "Number", "Number:i", rows=lambda: rows)])
    with Sandbox(dataset) as box:
        of_this_box = type(caller)(box).sign_in()
        pages = of_this_box.pages("/data/Numbers?$orderby=Number", 20_000)

    assert [len(page["value"]) for page in pages] == [10_000, 1]


def test_switches_that_change_an_answer(caller):
    switches = caller.box.switches
    switches.update(
        {"ieee754": "honoured", "json.non_ascii": "escaped", "page.echo_preference_applied": "yes"}
    )
    answer = caller.get(
        "/data/LedgerJournalLines?$select=LineNumber,Text&$filter=Text eq 'smile*'&cross-company=true",
        Accept="application/json;odata.metadata=minimal;IEEE754Compatible=true",
        Prefer="odata.maxpagesize=1",
    )

    assert isinstance(answer.json()["value"][0]["LineNumber"], str)
    assert answer.text.isascii()
    assert answer.json()["value"][0]["Text"] == "smile 😀 and 漢字"
    assert answer.headers["Preference-Applied"] == "odata.maxpagesize=1"
    switches["page.max_honours_prefer"] = "no"
    assert len(caller.get("/data/CustomersV3", Prefer="odata.maxpagesize=1").json()["value"]) > 1
    with pytest.raises(ValueError, match=r"nextlink\.form takes one of"):
        switches["nextlink.form"] = "sideways"
    with pytest.raises(KeyError, match="There is no switch"):
        switches["nonsense"] = "1"


def test_metadata_none_drops_context_and_etag(calm):
    page = calm.get("/data/CustomerGroups", Accept="application/json;odata.metadata=none").json()

    assert list(page) == ["value"]
    assert "@odata.etag" not in page["value"][0]


def test_answers_carry_what_support_asks_for(calm):
    answer = calm.get(
        "/data/CustomerGroups", **{"x-ms-client-request-id": "11111111-2222-4333-8444-555555555555"}
    )

    assert len(answer.headers["ms-dyn-aid"]) == 36
    assert answer.headers["x-ms-client-request-id"].startswith("11111111-")
    assert "ApplicationGatewayAffinity" in answer.headers["Set-Cookie"]
    assert calm.box.requests[-1].activity_id == answer.headers["ms-dyn-aid"]
    assert calm.box.requests[-1].authorization == calm.box.url
