"""How the sandbox's data changes, and what of it shows in etags and stamps."""

from __future__ import annotations

from datetime import datetime, timezone
from decimal import Decimal

import pytest

from tap_d365fo.sandbox.dataset import Dataset
from tap_d365fo.sandbox.definition import columns, define
from tap_d365fo.sandbox.entities import ODD_KEYS, built_in

NOW = datetime(2026, 5, 1, 10, 0, tzinfo=timezone.utc)
CUSTOMER = ("usmf", "US-003")


@pytest.fixture
def dataset():
    return built_in(clock=lambda: NOW)


def test_the_same_seed_gives_the_same_rows_and_the_same_changes(dataset):
    other = built_in(clock=lambda: NOW)

    assert dataset.advance() == other.advance()
    assert all(dataset.rows(name) == other.rows(name) for name in dataset.names)
    assert built_in(seed=1).rows("CustomersV3") != built_in().rows("CustomersV3")
    assert len(built_in(scale=2).rows("Workers")) == 2 * len(built_in().rows("Workers"))


def test_an_update_moves_one_pair_of_the_etag_and_nothing_else(dataset):
    before = dataset.etag("CustomersV3", CUSTOMER)

    dataset.update("CustomersV3", CUSTOMER, {"OrganizationName": "New"})

    after = dataset.etag("CustomersV3", CUSTOMER)
    moved = [place for place, (one, other) in enumerate(zip(before, after, strict=True)) if one != other]
    assert len(before) == 11
    assert len(moved) == 1
    assert before[moved[0]][1] == after[moved[0]][1] != 0
    changed = next(row for row in dataset.rows("CustomersV3") if row["CustomerAccount"] == "US-003")
    assert changed["OrganizationName"] == "New"


def test_the_chosen_pair_moves_and_a_joined_one_leaves_the_stamp(dataset):
    row = dataset.rows("CustTransBiEntities")[0]
    key = {"dataAreaId": row["dataAreaId"], "SourceKey": row["SourceKey"]}

    assert (
        dataset.update("CustTransBiEntities", key, {"Txt": "x"})["SysModifiedDateTime"]
        == "2026-05-01T10:00:00Z"
    )
    dataset.set_etag_pairs("CustTransBiEntities", 2)
    dataset.clock = lambda: NOW.replace(year=2027)
    before = dataset.etag("CustTransBiEntities", key)
    assert dataset.update("CustTransBiEntities", key, pair=1)["SysModifiedDateTime"] == "2026-05-01T10:00:00Z"
    assert dataset.etag("CustTransBiEntities", key)[0] == before[0]
    silent = dataset.etag("CustTransBiEntities", key)
    dataset.update("CustTransBiEntities", key, {"Txt": "y"}, silent=True)
    assert dataset.etag("CustTransBiEntities", key) == silent


def test_a_late_commit_carries_an_old_stamp(dataset):
    row = dataset.late_commit("CustTransBiEntities", {"dataAreaId": "usmf", "SourceKey": 7}, seconds=3600)

    assert row["SysModifiedDateTime"] == row["CreatedOn"] == "2026-05-01T09:00:00Z"


def test_rows_come_and_go_by_key(dataset):
    dataset.insert(
        "CustomersV3", {"dataAreaId": "usmf", "CustomerAccount": "NEW", "CreditLimit": Decimal("1.10")}
    )
    with pytest.raises(ValueError, match="has a row of that key already"):
        dataset.insert("CustomersV3", {"dataAreaId": "usmf", "CustomerAccount": "new"})
    dataset.delete("CustomersV3", ("usmf", "NEW"))
    with pytest.raises(KeyError, match="has no row"):
        dataset.delete("CustomersV3", ("usmf", "NEW"))
    with pytest.raises(KeyError, match="has no column"):
        dataset.insert("CustomersV3", {"Nope": 1})


def test_a_round_of_change_counts_what_it_did(dataset):
    before = {name: len(dataset.rows(name)) for name in dataset.names}

    counts = dataset.advance()

    assert len(counts) > 8
    for name, moved in counts.items():
        assert len(dataset.rows(name)) == before[name] + moved["inserted"] - moved["deleted"]
        assert moved["inserted"] > 0
    assert counts["GeneralJournalAccountEntryBiEntities"]["updated"] == 0


def test_change_goes_on_round_after_round(dataset):
    for _ in range(40):
        assert all(moved["inserted"] for moved in dataset.advance().values())


def test_entities_change_their_shape(dataset):
    dataset.drop_property("CustomersV3", "SalesMemo")
    dataset.add_property("CustomersV3", columns("NewColumn:r")[0])

    row = dataset.rows("CustomersV3")[0]

    assert "SalesMemo" not in row
    assert row["NewColumn"] == Decimal(0)
    assert row["PartyType"] == "Organization"
    dataset.set_etag_pairs("CustomersV3", 0)
    assert dataset.etag("CustomersV3", CUSTOMER) == []


def test_the_built_in_rows_hold_what_breaks_pipelines(dataset):
    customers = {row["CustomerAccount"] for row in dataset.rows("CustomersV3")}
    transactions = dataset.rows("CustTransBiEntities")
    lines = dataset.rows("LedgerJournalLines")

    assert set(ODD_KEYS) <= customers
    assert any(row["SourceKey"] > 2**53 for row in transactions)
    assert any(row["SysModifiedDateTime"].startswith("1900") for row in transactions)
    stamps = [row["SysModifiedDateTime"] for row in transactions]
    assert len(set(stamps)) < len(stamps)
    assert any(len(str(row["DebitAmount"]).replace(".", "")) >= 20 for row in lines)
    assert any(str(row["LineNumber"]).endswith("0000") for row in lines)
    assert any("\n" in row["Text"] for row in lines)
    assert "" in {row["CustomerGroupId"] for row in dataset.rows("CustomerGroups")}
    assert "DAT" in {row["dataAreaId"] for row in dataset.rows("VendorsV2")}
    assert sum(len(each.key) == 0 for each in dataset.definitions) == 1
    assert max(len(each.entity_type.properties) for each in dataset.definitions) == 300


def test_columns_stand_keys_first_and_then_in_no_alphabet():
    definition = define("Things", "Thing", "b a", "a b c:r d:n e:u f:d g:l", rows=list)
    names = [each.name for each in definition.entity_type.properties]

    assert names[:2] == ["b", "a"]
    assert sorted(names[2:]) == ["c", "d", "e", "f", "g"]
    assert names[2:] != sorted(names[2:])


def test_a_keyless_entity_is_known_by_position():
    rows = [{"Name": "one"}, {"Name": "two"}]
    dataset = Dataset([define("Loose", "Loose", "", "Name Amount:r", rows=lambda: rows)])

    dataset.update("Loose", (1,), {"Amount": Decimal(3)})
    dataset.delete("Loose", (0,))

    assert dataset.rows("Loose") == [{"Name": "two", "Amount": Decimal(3)}]
