"""Data packages: actions, statuses, blobs, and what is in a package."""

from __future__ import annotations

import csv
import io
import zipfile

import pytest
import requests

ACTIONS = "/data/DataManagementDefinitionGroups/Microsoft.Dynamics.DataEntities."


class Exporter:
    """A person with a data project."""

    def __init__(self, caller):
        self.caller = caller

    def act(self, action, **body):
        return self.caller.session.post(self.caller.box.url + ACTIONS + action, json=body, timeout=10)

    def export(self, company="usmf", project="SandboxExport", execution="run-1"):
        body = {"packageName": "p.zip", "executionId": execution, "reExecute": True, "legalEntityId": company}
        return self.act("ExportToPackage", definitionGroupId=project, **body).json()["value"]

    def fetch(self, execution):
        statuses = [
            self.act("GetExecutionSummaryStatus", executionId=execution).json()["value"] for _ in range(3)
        ]
        urls = [self.act("GetExportedPackageUrl", executionId=execution).json()["value"] for _ in range(2)]
        return statuses, urls

    def blob(self, url, **headers):
        return requests.get(url, headers=headers, verify=self.caller.box.ca_file, timeout=10)

    def rows(self, execution):
        archive = zipfile.ZipFile(io.BytesIO(self.blob(self.fetch(execution)[1][1]).content))
        return list(csv.DictReader(io.StringIO(archive.read("Customers V3.csv").decode("utf-8-sig"))))


@pytest.fixture
def exporter(caller, monkeypatch):
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("CURL_CA_BUNDLE", raising=False)
    return Exporter(caller)


def test_an_execution_takes_its_time_and_its_url_longer(exporter):
    assert exporter.export() == "run-1"

    statuses, urls = exporter.fetch("run-1")

    assert statuses == ["NotRun", "Executing", "Succeeded"]
    assert urls[0] == ""
    assert urls[1].startswith(exporter.caller.box.url + "/dmf/p.zip?")


def test_a_blob_is_fetched_by_its_signature_alone(exporter):
    exporter.export()
    url = exporter.fetch("run-1")[1][1]

    assert exporter.blob(url).status_code == 200
    assert exporter.blob(url, Authorization="Bearer x").status_code == 403
    assert exporter.blob(url.replace("sig=", "sig=0")).status_code == 403
    exporter.caller.box.switches["dmf.sas_ttl_s"] = -1
    assert (
        exporter.blob(exporter.act("GetExportedPackageUrl", executionId="run-1").json()["value"]).status_code
        == 403
    )


def test_a_package_holds_one_company_by_label_and_upper_case_names(exporter):
    exporter.export("ussi")
    archive = zipfile.ZipFile(io.BytesIO(exporter.blob(exporter.fetch("run-1")[1][1]).content))

    manifest = archive.read("Manifest.xml")
    assert sorted(archive.namelist()) == [
        "Customers V3.csv",
        "Manifest.xml",
        "PackageHeader.xml",
        "Vendors V2.csv",
    ]
    assert manifest[:2] == b"\xff\xfe"
    assert "<EntityName>Customers V3</EntityName>" in manifest.decode("utf-16")
    rows = exporter.rows("run-1")
    truth = [row for row in exporter.caller.box.truth("CustomersV3") if row["dataAreaId"] == "ussi"]
    assert {row["CUSTOMERACCOUNT"] for row in rows} == {row["CustomerAccount"] for row in truth}
    assert "1900-01-01 00:00:00" in {row["ADDRESSVALIDFROM"] for row in rows}


def test_an_incremental_project_gives_what_changed_since_it_was_executed(exporter):
    exporter.export(project="SandboxIncremental", execution="first")
    dataset = exporter.caller.box.dataset
    dataset.update("CustomersV3", ("usmf", "US-001"), {"NameAlias": "changed"})
    dataset.delete("CustomersV3", ("usmf", "US-002"))
    exporter.export(project="SandboxIncremental", execution="second")
    exporter.export(project="SandboxIncremental", execution="third")

    assert [row["NAMEALIAS"] for row in exporter.rows("second")] == ["changed"]
    assert exporter.rows("third") == []


def test_what_does_not_exist_is_a_500_with_its_reason(exporter):
    answer = exporter.act("ExportToPackage", definitionGroupId="Nope", legalEntityId="usmf")

    assert answer.status_code == 500
    assert "nope" in answer.json()["error"]["innererror"]["message"]
    assert exporter.act("Nope").status_code == 404
