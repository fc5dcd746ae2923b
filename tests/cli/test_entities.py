"""`d365fo entities`: found by any name, narrowed, counted, in every form."""

from __future__ import annotations

import csv
import io
import json

import pytest

from tap_d365fo.cli import main


@pytest.fixture
def listed(sandbox, tmp_path, capsys, monkeypatch):
    """Run the command; return what it printed, and as what it ended."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def run(*arguments: str, **changes):
        path = tmp_path / "config.json"
        path.write_text(json.dumps({**sandbox.config(), **changes}))
        with pytest.raises(SystemExit) as ended:
            main(["entities", "--config", str(path), *arguments])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


def names(text: str) -> set[str]:
    return {each["entity_set"] for each in json.loads(text)}


def test_each_entity_says_how_it_is_read_and_why(listed, sandbox):
    by_name = {each["entity_set"]: each for each in json.loads(listed("--json"))}

    assert set(by_name) == set(sandbox.dataset.names)
    stamped = by_name["CustTransBiEntities"]
    assert (stamped["method"], stamped["replication_key"]) == ("timestamp", "SysModifiedDateTime")
    customers = by_name["CustomersV3"]
    assert customers["keys"] == ["dataAreaId", "CustomerAccount"]
    assert (customers["aot_name"], customers["category"]) == ("CustCustomerV3Entity", "Master")
    assert customers["company_scoped"] is True
    assert all(each["why"] for each in by_name.values())


@pytest.mark.parametrize(
    "pattern",
    ["CustomersV3", "customerv3", "CUSTCUSTOMERV3", "CustCustomerV3E*", "?ustomersV3", "Customers V3"],
    ids=["set", "type", "part of AOT name", "AOT name", "characters", "label"],
)
def test_an_entity_is_found_by_any_of_its_names(listed, pattern):
    assert names(listed("--json", pattern)) == {"CustomersV3"}


def test_the_setting_does_not_hide_what_else_there_is(listed):
    assert "VendorsV2" in names(listed("--json", entities=["CustomersV3"]))


def test_scope_and_method_narrow_the_list(listed):
    scoped, others = names(listed("--json", "--company-scoped")), names(listed("--json", "--global"))

    assert "CustomersV3" in scoped
    assert scoped & others == set()
    assert "CustTransBiEntities" in names(listed("--json", "--method", "timestamp"))
    assert "CustomersV3" not in names(listed("--json", "--method", "timestamp"))


def test_rows_are_counted_on_request_and_sizes_estimated(listed, sandbox):
    (row,) = json.loads(listed("--json", "--count", "CustomersV3"))

    assert row["rows"] == len(sandbox.truth("CustomersV3"))
    assert row["bytes"] == row["rows"] * row["bytes_per_row"]
    assert 500 < row["bytes_per_row"] < 20_000


def test_without_request_nothing_is_counted(listed, sandbox):
    listed("--json")

    assert not [each for each in sandbox.requests if each.path.endswith("$count")]


def test_what_cannot_be_counted_is_listed_all_the_same(listed, sandbox):
    sandbox.switches["auth.denied"] = "CustomersV3"

    assert "? rows" in listed("--count", "CustomersV3")


def test_spreadsheets_get_csv(listed):
    rows = list(csv.DictReader(io.StringIO(listed("--csv", "CustomersV3"))))

    assert [each["keys"] for each in rows] == ["dataAreaId CustomerAccount"]


def test_people_get_lines_with_the_reason_below(listed):
    out = listed("CustomersV3", "--labels").splitlines()

    assert out[0].startswith("CustomersV3  full")
    assert out[1].strip() == "Customers V3 / CustCustomerV3Entity"
    assert "row versions" in out[2]
    assert out[-1] == "1 entity."


def test_nothing_that_fits_is_said_with_what_is_near(sandbox, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(sandbox.config()))

    with pytest.raises(SystemExit):
        main(["entities", "--config", str(tmp_path / "config.json"), "CustomrsV3"])

    assert "CustomersV3" in capsys.readouterr().err


def test_a_second_look_reads_no_metadata_unless_it_is_to_be_fresh(listed, sandbox):
    def reads() -> int:
        return sum(each.path.endswith("$metadata") for each in sandbox.requests)

    first = listed("--json")
    again = listed("--json")
    assert (reads(), again) == (1, first)

    listed("--json", "--refresh")
    assert reads() == 2


def test_an_environment_without_a_metadata_service_has_sets_types_and_methods(listed, sandbox):
    sandbox.faults.add("denied-entity", path="/metadata/")

    (row,) = json.loads(listed("--json", "CustomersV3"))

    assert (row["aot_name"], row["category"]) == ("", "")
    assert row["method"] == "full"


def test_a_page_that_cannot_be_written_is_one_line(sandbox, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps(sandbox.config()))

    with pytest.raises(SystemExit) as ended:
        main(
            [
                "entities",
                "--config",
                str(tmp_path / "config.json"),
                "--html",
                str(tmp_path / "no" / "page.html"),
            ]
        )

    err = capsys.readouterr().err.strip()
    assert ended.value.code == 1
    assert len(err.splitlines()) == 1
    assert "cannot be written" in err
