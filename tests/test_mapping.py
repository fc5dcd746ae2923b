"""Maps get to see the columns that they look at, and what leaves is what it would be if they saw them all."""

from __future__ import annotations

import json

import pytest
from singer import sync

from tap_d365fo import mapping
from tap_d365fo.sandbox.server import Sandbox
from tap_d365fo.streams import EntityStream

CUSTOMERS, LINES = "CustomersV3", "SalesOrderLinesV3"


@pytest.mark.parametrize(
    ("expression", "seen"),
    [
        ("A", {"A"}),
        ("A + '-' + B", {"A", "B", "-"}),
        ("record['A']", {"record", "A"}),
        ("_['A'] if _.get('B') else record.get('C', D)", {"_", "A", "get", "B", "record", "C", "D"}),
        ("record.A", {"record", "A"}),
        ("self", {"self"}),
        ("md5(config['salt'] + A)", {"md5", "config", "salt", "A"}),
        ("f'{A:>10}|{B}'", {"A", "B", ">10", "|"}),
    ],
)
def test_what_an_expression_looks_at_is_found(expression, seen):
    assert mapping.looked_at({"X": {"New": expression}}) == {*seen, "New"}


@pytest.mark.parametrize(
    "expression",
    [
        "record",
        "str(_)",
        "len(record)",
        "record[A]",
        "record['Ay'[:1]]",
        "record.get(A)",
        "record.keys()",
        "[each for each in record.values()]",
        "'A' in record",
        "record or {}",
        "_.get",
        "A +",
    ],
)
def test_an_expression_that_may_look_at_any_column_is_told(expression):
    assert mapping.looked_at({"X": {"New": expression}, "Y": {"Other": "A"}}) is None
    assert mapping.looked_at({"X": {"__filter__": expression}}) is None


def test_what_is_no_expression_is_not_read_as_one():
    maps = {
        "__else__": None,
        "X": {
            "__alias__": "y",
            "__source__": "z",
            "__key_properties__": ["A"],
            "Gone": None,
            "Too": "__NULL__",
        },
        "Y": None,
    }

    assert mapping.looked_at(maps) == mapping.written(maps) == {"Gone", "Too"}
    assert mapping.looked_at({"X": {"A": "B", "__else__": None}}) is None


MAPS = {
    "new columns": {
        "Label": "CustomerAccount + '-' + dataAreaId",
        "Fixed": "'x'",
        "Twice": "CreditLimit * 2",
    },
    "in place": {"OrganizationName": "self.upper() if self else None", "CreditLimit": "float(self or 0)"},
    "renamed": {"Name": "OrganizationName", "OrganizationName": None},
    "only removed": {"OrganizationName": None, "CreditLimit": "__NULL__"},
    "filtered": {"__filter__": "record['dataAreaId'] == 'usmf' and CreditLimit is not None"},
    "by column": {"Got": "_.get('CreditLimit')", "Was": "record['OrganizationName']", "CreditLimit": None},
    "hashed": {"Hash": "md5(config['salt'] + CustomerAccount)"},
    "the whole record": {"Known": "str('CreditLimit' in record)"},
    "nothing else": {
        "dataAreaId": "self",
        "CustomerAccount": "self",
        "Limit": "CreditLimit",
        "__else__": None,
    },
    "another key": {
        "Id": "CustomerAccount + dataAreaId",
        "__key_properties__": ["Id"],
        "CustomerAccount": None,
    },
    "nothing": {},
}


WANT_ALL = [MAPS["the whole record"], MAPS["nothing else"]]


@pytest.fixture(scope="module")
def box():
    with (
        Sandbox(seed=11, switches={"companies.hidden": ""}) as running,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("REQUESTS_CA_BUNDLE", str(running.ca_file))
        yield running


def left(config) -> list[str]:
    """Return what leaves, numbers as their digits."""
    outcome = sync(config)
    assert outcome.error is None
    return sorted(
        json.dumps([each["stream"], each["record"]], default=str, sort_keys=True)
        for each in outcome.of("RECORD")
    )


@pytest.mark.parametrize("swept", [False, True], ids=["full", "swept"])
@pytest.mark.parametrize("maps", MAPS.values(), ids=MAPS)
def test_records_of_which_maps_see_a_part_equal_those_that_they_see_whole(
    box, tmp_path, monkeypatch, maps, swept
):
    config = box.config(
        entities=[CUSTOMERS, LINES],
        page_size=50,
        stream_maps={CUSTOMERS: maps, "Copy": {"__source__": LINES, "Quantity": "OrderedSalesQuantity"}},
        stream_map_config={"salt": "s"},
    )

    wholes = []
    wholly = EntityStream._wholly
    monkeypatch.setattr(EntityStream, "_wholly", lambda *args: wholes.append(True) or wholly(*args))

    partly = left({**config, **({"change_store": str(tmp_path / "partly")} if swept else {})})
    assert bool(wholes) is (maps in WANT_ALL)
    monkeypatch.setattr(mapping, "looked_at", lambda _maps: None)
    assert partly == left({**config, **({"change_store": str(tmp_path / "wholly")} if swept else {})})
    assert len(partly) > 100
