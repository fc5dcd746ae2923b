"""What the environment says of itself: $metadata, the service document, the service behind /metadata."""

from __future__ import annotations

import statistics
from collections import Counter
from xml.etree import ElementTree as ET

import pytest

from tap_d365fo.sandbox.fullsize import full_size
from tap_d365fo.sandbox.landscape import label_text
from tap_d365fo.sandbox.metadata import csdl

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"


def test_the_document_says_what_the_dataset_has(calm):
    answer = calm.get("/data/$metadata")
    root = ET.fromstring(answer.content.decode("utf-8-sig"))

    assert answer.headers["Content-Type"] == "application/xml"
    types = {each.get("Name"): each for each in root.iter(f"{EDM}EntityType")}
    sets = {
        each.get("Name"): each.get("EntityType").rpartition(".")[2] for each in root.iter(f"{EDM}EntitySet")
    }
    assert list(sets) == list(calm.box.dataset.names)
    for definition in calm.box.dataset.definitions:
        entity_type = types[sets[definition.name]]
        properties = [each.get("Name") for each in entity_type.findall(f"{EDM}Property")]
        assert properties == [each.name for each in definition.entity_type.properties]
        keys = tuple(each.get("Name") for each in entity_type.iter(f"{EDM}PropertyRef"))
        assert keys == definition.key == tuple(properties[: len(keys)])
    members = {each.get("Name") for each in root.iter(f"{EDM}EnumType")}
    used = {
        each.get("Type").rpartition(".")[2]
        for each in root.iter(f"{EDM}Property")
        if "Dynamics" in each.get("Type")
    }
    assert used <= members


def test_the_document_follows_the_dataset(caller):
    caller.box.dataset.drop_property("CustomersV3", "SalesMemo")

    assert b'"SalesMemo"' not in caller.get("/data/$metadata").content


def test_the_service_document_lists_every_set(calm):
    items = calm.get("/data").json()["value"]

    assert [each["name"] for each in items] == list(calm.box.dataset.names)
    assert items[0] == {"name": "CustomersV3", "kind": "EntitySet", "url": "CustomersV3"}


def test_the_full_size_is_that_of_a_real_environment():
    definitions = full_size(frozenset())
    widths = [len(each.entity_type.properties) for each in definitions]
    keys = Counter(min(len(each.key), 6) for each in definitions)

    assert len(definitions) == len({each.name for each in definitions}) == 3868
    assert 62_000 < sum(widths) < 72_000
    assert 7 <= statistics.median(widths) <= 11
    assert max(widths) <= 305
    assert keys.most_common(1)[0][0] == 2
    assert keys[0] == 6
    assert 0.55 < sum(each.is_company_scoped for each in definitions) / 3868 < 0.75
    assert 80 < sum(each.modified is not None for each in definitions) < 130
    names = {each.entity_type.name for each in definitions}
    assert len(names) == 3868
    assert 40_000_000 < len(csdl(definitions)) < 60_000_000


def test_full_size_comes_by_a_switch(caller):
    caller.box.switches["metadata.scale"] = "full"

    names = [each["name"] for each in caller.get("/data").json()["value"]]
    assert len(names) == len(set(names)) == 3868
    assert caller.get(f"/data/{names[-1]}?cross-company=true").json()["value"] == []


@pytest.mark.parametrize("folder", ["metadata", "Metadata"])
def test_data_entities_know_all_names(calm, folder):
    answer = calm.get(f"/{folder}/DataEntities?$filter=PublicEntityName eq 'CustomerV3'").json()

    assert answer["@odata.context"] == f"{calm.box.url}/metadata/$metadata#DataEntities"
    (entity,) = answer["value"]
    assert entity["Name"] == "CustCustomerV3Entity"
    assert entity["PublicCollectionName"] == "CustomersV3"
    assert entity["EntityCategory"] == "Master"
    label = calm.get(f"/metadata/Labels(Id='{entity['LabelId']}',Language='en-US')").json()
    assert label["Value"] == "Customers V3"


def test_some_data_entities_are_not_public(calm):
    hidden = calm.get("/metadata/DataEntities?$filter=DataServiceEnabled eq false&$count=true").json()

    assert hidden["@odata.count"] == len(hidden["value"]) > 0
    assert {each["PublicCollectionName"] for each in hidden["value"]} == {""}


def test_public_entities_tell_a_date_from_an_instant(calm):
    entity = calm.get("/metadata/PublicEntities('CustomerV3')").json()
    types = {each["Name"]: (each["TypeName"], each["DataType"]) for each in entity["Properties"]}

    assert entity["EntitySetName"] == "CustomersV3"
    assert types["CredManCustomerSince"] == ("Edm.DateTimeOffset", "Date")
    assert types["AddressValidFrom"] == ("Edm.DateTimeOffset", "UtcDateTime")
    assert [each["Name"] for each in entity["Properties"] if each["IsKey"]] == [
        "dataAreaId",
        "CustomerAccount",
    ]
    assert entity["NavigationProperties"][0]["RelatedEntity"] == "CustomerGroup"


def test_enumerations_and_what_is_not_there(calm):
    no_yes = calm.get("/metadata/PublicEnumerations('NoYes')").json()

    assert [(each["Name"], each["Value"]) for each in no_yes["Members"]] == [("No", 0), ("Yes", 1)]
    for path in ("PublicEntities('Nope')", "Labels", "Nope"):
        assert calm.get(f"/metadata/{path}").status_code == 404


def test_versions_are_told_by_actions(calm):
    base = f"{calm.box.url}/data/DataManagementEntities/Microsoft.Dynamics.DataEntities."
    answer = calm.session.post(base + "GetApplicationVersion", json={}, timeout=10).json()

    assert answer == {"@odata.context": f"{calm.box.url}/data/$metadata#Edm.String", "value": "10.0.42"}
    assert calm.session.post(base + "GetInstalledModules", json={}, timeout=10).json()["value"]
    assert calm.session.post(base + "Nope", json={}, timeout=10).status_code == 404
    assert calm.session.post(f"{calm.box.url}/data/$batch", data="", timeout=10).status_code == 501
    assert calm.session.delete(f"{calm.box.url}/data/CustomersV3", timeout=10).status_code == 405


@pytest.mark.parametrize(
    ("label", "text"),
    [
        ("@SYS13342", "Company"),
        ("@X:CustomerAccount", "Customer account"),
        ("@X:VATNum", "VAT num"),
        ("@X:PaymentHelp", "Shows payment."),
        ("(GMT) Literal", "(GMT) Literal"),
    ],
)
def test_label_texts(label, text):
    assert label_text(label) == text
