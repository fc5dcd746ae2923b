"""The load server answers what was asked: ranges stand for filters, pages for queries."""

from __future__ import annotations

import functools
import json
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.load_server import ranges
from benchmarks.load_server.entities import FIRST_REC_ID, shape_named
from benchmarks.load_server.filters import FilterError
from benchmarks.load_server.service import LoadService, Request
from benchmarks.load_server.table import Table

COMPANIES = ("c001", "c002", "c003")
ROWS = 30


shape = functools.cache(shape_named)


def table(name: str) -> Table:
    return Table(shape(name), rows=ROWS, companies=COMPANIES)


def comparisons(name: str) -> st.SearchStrategy[str]:
    operators = st.sampled_from(["eq", "ne", "gt", "ge", "lt", "le"])
    companies = st.sampled_from(["c000", *COMPANIES, "c999"]).map(lambda each: f"'{each}'")
    numbers = st.integers(-2, ROWS + 2)
    if name == "Bench300":
        keys = numbers.map(
            lambda each: f"RegistrationRecordId {{}} {FIRST_REC_ID + 3 * each + 1 * (each % 2)}"
        )
    else:
        keys = numbers.map(lambda each: f"SalesVoucherNumber {{}} 'BN-{max(each, 0):09}'")
    return st.one_of(
        st.builds(lambda key, operator: key.format(operator), keys, operators),
        st.builds(lambda company, operator: f"dataAreaId {operator} {company}", companies, operators),
    )


def filters(name: str) -> st.SearchStrategy[str]:
    def joined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        pair = st.tuples(inner, st.sampled_from(["and", "or"]), inner).map(" ".join).map("({})".format)
        return st.one_of(pair, inner.map("not ({})".format))

    return st.recursive(comparisons(name), joined, max_leaves=6)


def holds(text: str, company: str, key: object) -> bool:
    """Decide one row by Python's own comparisons."""
    words = {"eq": "==", "ne": "!=", "gt": ">", "ge": ">=", "lt": "<", "le": "<="}
    python = " ".join(words.get(each, each) for each in text.replace("(", "( ").replace(")", " )").split())
    names = {"dataAreaId": company, "SalesVoucherNumber": key, "RegistrationRecordId": key}
    return bool(eval(python, {}, names))


@pytest.mark.parametrize("name", ["Bench45", "Bench300"])
@settings(deadline=None)
@given(data=st.data())
def test_a_filter_lets_through_the_rows_for_which_it_holds(name: str, data: st.DataObject) -> None:
    rows = table(name)
    text = data.draw(filters(name))

    found = rows.rows(text, across_companies=True)

    everything = json.loads(b"[" + rows.render(((0, ROWS),), (), etags=True) + b"]")
    key = rows.shape.number_column
    wanted = [place for place, row in enumerate(everything) if holds(text, row["dataAreaId"], row[key])]
    assert list(ranges.numbers(found)) == wanted


def test_without_cross_company_only_one_legal_entity_is_seen() -> None:
    assert ranges.size(table("Bench45").rows("", across_companies=False)) == ROWS // len(COMPANIES)


def test_a_filter_beyond_key_columns_is_refused() -> None:
    with pytest.raises(FilterError):
        table("Bench45").rows("CurrencyCode eq 'USD'", across_companies=True)


def test_changed_rows_have_other_etags_and_deleted_rows_are_gone() -> None:
    rows = table("Bench60")
    before = {row["DocumentNumber"]: row["@odata.etag"] for row in _rendered(rows)}

    told = rows.change(changed=0.2, deleted=0.1)

    after = {row["DocumentNumber"]: row["@odata.etag"] for row in _rendered(rows)}
    assert len(before) - len(after) == told["deleted"] == 3
    assert sum(before[key] != etag for key, etag in after.items()) == told["changed"]


def _rendered(rows: Table) -> list[dict[str, object]]:
    return json.loads(b"[" + rows.render(rows.rows("", across_companies=True), (), etags=True) + b"]")


@pytest.fixture(scope="module")
def service() -> LoadService:
    return LoadService(rows={"Bench45": ROWS}, companies=3, cache_bytes=2**20, full_metadata=False)


def get(service: LoadService, target: str, **headers: str) -> dict[str, object]:
    request = Request("GET", quote(target, safe="/?&=$,"), headers, b"", "https://localhost")
    return json.loads(service.answer(request).body.removeprefix(b"\xef\xbb\xbf"))


def test_next_links_lead_through_all_rows_once(service: LoadService) -> None:
    target, seen = "/data/Bench45?cross-company=true", []
    while target:
        page = get(service, target, prefer="odata.maxpagesize=7")
        seen += [row["SalesVoucherNumber"] for row in page["value"]]
        target = page.get("@odata.nextLink", "").removeprefix("https://localhost")

    assert len(seen) == len(set(seen)) == ROWS


def test_top_is_a_limit_and_leaves_no_next_link(service: LoadService) -> None:
    page = get(service, "/data/Bench45?cross-company=true&$top=2&$select=SalesVoucherNumber")

    assert [list(row) for row in page["value"]] == [["@odata.etag", "SalesVoucherNumber"]] * 2
    assert "@odata.nextLink" not in page


def test_a_count_honours_the_filter(service: LoadService) -> None:
    assert get(service, "/data/Bench45/$count?cross-company=true&$filter=dataAreaId eq 'c002'") == 10


def test_another_order_than_the_key_is_refused(service: LoadService) -> None:
    answer = service.answer(
        Request("GET", "/data/Bench45?$orderby=CurrencyCode", {}, b"", "https://localhost")
    )

    assert answer.status == 400
