"""The sandbox beside genuine answers: what a client could tell them apart by."""

from __future__ import annotations

import base64
import re
from xml.etree import ElementTree as ET

import pytest

SETS = (
    "CustomersV3",
    "CustomerGroups",
    "VendorsV2",
    "ReleasedProductsV2",
    "SalesOrderHeadersV2",
    "LegalEntities",
    "MainAccounts",
    "UnitsOfMeasure",
    "Workers",
)
EDM = "{http://docs.oasis-open.org/odata/ns/edm}"


def pairs_of(row):
    return base64.b64decode(row["@odata.etag"][3:-1]).decode().count(";") + 1


def form_of(value):
    """The shape of a value, blind to what it says."""
    if isinstance(value, str):
        if re.fullmatch(r"\d{4}-\d\d-\d\dT12:00:00Z", value):
            return "date"
        if re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value):
            return "instant"
        return "text"
    return (
        "number" if isinstance(value, (int, float)) and not isinstance(value, bool) else type(value).__name__
    )


@pytest.mark.parametrize("name", SETS)
def test_the_envelope_is_that_of_the_recording(calm, recordings, name):
    genuine = recordings[name]

    asked = {
        key: value for key, value in genuine["params"].items() if key in ("$select", "$count", "$orderby")
    }
    answer = calm.session.get(f"{calm.box.url}/data/{name}", params=asked, timeout=10)

    assert answer.status_code == genuine["status"]
    assert answer.headers["Content-Type"] == genuine["content_type"]
    assert [each for each in answer.json() if each != "@odata.nextLink"] == list(genuine["body"])
    context, wanted = answer.json()["@odata.context"], genuine["body"]["@odata.context"]
    assert context.split("/data/")[1] == wanted.split("/data/")[1]


@pytest.mark.parametrize("name", SETS)
def test_rows_begin_with_an_etag_of_the_same_number_of_pairs(calm, recordings, name):
    genuine = recordings[name]["body"]["value"]

    rows = calm.rows(f"/data/{name}?cross-company=true")

    assert {next(iter(row)) for row in rows} == {next(iter(row)) for row in genuine} == {"@odata.etag"}
    assert {pairs_of(row) for row in rows} == {pairs_of(row) for row in genuine}


@pytest.mark.parametrize("name", SETS)
def test_columns_stand_in_the_order_of_the_recording(calm, recordings, name):
    genuine = list(recordings[name]["body"]["value"][0])

    ours = list(calm.get(f"/data/{name}?cross-company=true&$top=1").json()["value"][0])

    shared = [each for each in ours if each in genuine]
    assert len(shared) >= 0.9 * len(ours)
    assert shared == [each for each in genuine if each in shared]


@pytest.mark.parametrize("name", SETS)
def test_values_have_the_forms_of_the_recording(calm, recordings, name):
    genuine = recordings[name]["body"]["value"]
    forms = {}
    for row in genuine:
        for column, value in row.items():
            forms.setdefault(column, set()).add(form_of(value))

    rows = calm.rows(f"/data/{name}?cross-company=true")
    instants = {
        each.name
        for each in calm.box.dataset.table(name).definition.entity_type.properties
        if each.ax_type == "UtcDateTime"
    }

    ours = {(column, form_of(value)) for row in rows for column, value in row.items() if value is not None}
    for column, form in ours:
        if column in forms and forms[column] != {"NoneType"}:
            # An instant may fall on noon, and then looks like a date.
            assert ("instant" if column in instants else form) in forms[column], column


def test_only_enum_columns_are_ever_null(calm):
    for definition in calm.box.dataset.definitions:
        loose = {
            each.name for each in definition.entity_type.properties if each.ax_type in ("Enum", "Container")
        }
        for row in calm.box.truth(definition.name):
            assert {column for column, value in row.items() if value is None} <= loose


@pytest.fixture(scope="module")
def genuine_csdl(samples):
    found = [path.read_bytes() for path in sorted(samples.glob("metadata/*.xml"))]
    if not found:
        pytest.skip(f"There is no genuine $metadata under {samples}.")
    return found


def outline(document):
    """What stands where: the order of element kinds in the main schema, and how annotations are made."""
    root = ET.fromstring(document.decode("utf-8-sig"))
    schema = next(
        each for each in root.iter(f"{EDM}Schema") if each.get("Namespace").endswith("DataEntities")
    )
    kinds = list(dict.fromkeys(each.tag.removeprefix(EDM) for each in schema))
    terms = {(each.get("Term"), tuple(sorted(set(each.keys())))) for each in root.iter(f"{EDM}Annotation")}
    return kinds, terms


def test_metadata_has_the_outline_of_the_genuine_one(calm, genuine_csdl):
    genuine_kinds, genuine_terms = zip(*map(outline, genuine_csdl), strict=True)

    answer = calm.get("/data/$metadata")
    kinds, terms = outline(answer.content)

    assert answer.content[:3] == genuine_csdl[0][:3] == b"\xef\xbb\xbf"
    assert kinds in genuine_kinds
    assert terms <= set().union(*genuine_terms)


def test_properties_follow_the_fixed_table_of_ax_types(calm, genuine_csdl):
    def table(document):
        found = {}
        for each in ET.fromstring(document.decode("utf-8-sig")).iter(f"{EDM}Property"):
            ax_type = each.find(f".//{EDM}EnumMember").text.rpartition("/")[2]
            edm_type = each.get("Type") if each.get("Type").startswith("Edm.") else "enum"
            found.setdefault((ax_type, edm_type), set()).add(each.get("Nullable"))
        return found

    genuine = {}
    for each in genuine_csdl:
        for row, nullable in table(each).items():
            genuine.setdefault(row, set()).update(nullable)

    for row, nullable in table(calm.get("/data/$metadata").content).items():
        if row in genuine:
            assert nullable <= genuine[row] | {"false"}, row


def test_customer_columns_are_typed_as_in_the_genuine_metadata(calm, genuine_csdl):
    def types(document):
        root = ET.fromstring(document.decode("utf-8-sig"))
        found = [each for each in root.iter(f"{EDM}EntityType") if each.get("Name") == "CustomerV3"]
        return {each.get("Name"): each.get("Type") for one in found for each in one.iter(f"{EDM}Property")}

    genuine = next(filter(None, map(types, genuine_csdl)))
    ours = types(calm.get("/data/$metadata").content)

    assert {name: edm_type for name, edm_type in ours.items() if name in genuine} == {
        name: genuine[name] for name in ours if name in genuine
    }
