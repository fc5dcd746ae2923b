"""`$metadata` to an EdmModel: genuine excerpts, odd documents, broken ones, and one of full size."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from csdl_documents import PROPERTIES, SETS, full_size, in_chunks, set_name, type_name
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tap_d365fo.edm import csdl, csdl_scan
from tap_d365fo.edm.csdl import read_model
from tap_d365fo.edm.model import EnumMember, NavigationProperty, OfferedSet, Property
from tap_d365fo.errors import MetadataError

CORE = "Microsoft.Dynamics.OData.Core.V1"

DOCUMENT = f"""\ufeff<?xml version="1.0" encoding="utf-8"?>
<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices>
<Schema Namespace="My.Entities" xmlns="http://docs.oasis-open.org/odata/ns/edm">
  <EnumType Name="NoYes">
    <Member Name="No" Value="0"><Annotation Term="{CORE}.LabelId" String="@SYS1"/></Member>
    <Member Name="Yes" Value="1" />
  </EnumType>
  <EnumType Name="Timezone">
    <Member Name="Pacific" Value="7"><Annotation Term="{CORE}.LabelId" String="Pacific (US &amp; Canada)" /></Member>
  </EnumType>
  <EntityType Name="Widget">
    <Key><PropertyRef Name="dataAreaId" /><PropertyRef Name="WidgetId" /></Key>
    <Property Name="dataAreaId" Type="Edm.String" Nullable="false">
      <Annotation Term="{CORE}.LabelId" String="@SYS13342" />
      <Annotation Term="{CORE}.AXType"><EnumMember>{CORE}.AXType/String</EnumMember></Annotation>
    </Property>
    <Property Name="WidgetId" Type="Edm.Int64" Nullable="false">
      <Annotation Term="{CORE}.HelpTextId" String="@HELP" />
      <Annotation Term="{CORE}.LookupGroup"><Collection><String>a</String><String>b</String></Collection></Annotation>
      <Annotation Term="{CORE}.AXType"><EnumMember>{CORE}.AXType/Int64</EnumMember></Annotation>
    </Property>
    <Property Name="SoldOn" Type="Edm.DateTimeOffset" Nullable="false">
      <Annotation Term="{CORE}.AXType"><EnumMember>{CORE}.AXType/Date</EnumMember></Annotation>
    </Property>
    <Property Name="IsOpen" Type="My.Entities.NoYes">
      <Annotation Term="{CORE}.LabelId" String="@OPEN" />
      <Annotation Term="{CORE}.ConfigurationKeyEnabled" Bool="true" />
      <Annotation Term="{CORE}.AXType"><EnumMember>{CORE}.AXType/Enum</EnumMember></Annotation>
    </Property>
    <Property Name="Plain" Type="Edm.String" />
    <NavigationProperty Name="Groups" Type="Collection(My.Entities.Group)" Partner="Widgets">
      <ReferentialConstraint Property="WidgetId" ReferencedProperty="GroupId" />
    </NavigationProperty>
    <NavigationProperty Name="Parent" Type="My.Entities.Widget" Nullable="false" />
    <Annotation Term="{CORE}.LabelId" String="@X:Widgets" />
  </EntityType>
  <EntityType Name="Group"><Property Name="GroupId" Type="Edm.Int64" Nullable="false" /></EntityType>
  <Action Name="mend" IsBound="true"><Parameter Name="it" Type="My.Entities.Widget" /></Action>
  <EntityContainer Name="Resources">
    <EntitySet Name="Widgets" EntityType="My.Entities.Widget"><NavigationPropertyBinding Path="Groups" Target="Groups" /></EntitySet>
    <EntitySet Name="Groups" EntityType="My.Entities.Group" />
  </EntityContainer>
</Schema>
</edmx:DataServices></edmx:Edmx>"""


def read(text, **options):
    return read_model([text.encode() if isinstance(text, str) else text], **options)


def outcome(read_it):
    """Return a model or the fact that it is unreadable."""
    try:
        return read_it()
    except MetadataError:
        return "unreadable"


def by_events_alone(content, **options):
    """Read with the quick lane shut."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csdl, "_ELEMENT", re.compile(rb"(?!)"))
        return read_model([content], **options)


# -- what a document says ------------------------------------------------------------------------------------


def test_types_keys_and_annotations_are_read():
    model = read(DOCUMENT)

    widget = model.entity_sets["Widgets"].entity_type
    assert list(model.entity_sets) == ["Widgets", "Groups"]
    assert widget.name == "Widget"
    assert widget.key == ("dataAreaId", "WidgetId")
    assert widget.label == "@X:Widgets"
    assert widget.properties == (
        Property("dataAreaId", "Edm.String", nullable=False, ax_type="String", label="@SYS13342"),
        Property("WidgetId", "Edm.Int64", nullable=False, ax_type="Int64", help_text="@HELP"),
        Property("SoldOn", "Edm.DateTimeOffset", nullable=False, ax_type="Date"),
        Property("IsOpen", "My.Entities.NoYes", ax_type="Enum", label="@OPEN"),
        Property("Plain", "Edm.String"),
    )
    assert widget.navigation_properties == (
        NavigationProperty("Groups", "My.Entities.Group", True, "Widgets", (("WidgetId", "GroupId"),)),
        NavigationProperty("Parent", "My.Entities.Widget"),
    )
    assert model.enum_types["NoYes"].members == (EnumMember("No", 0, "@SYS1"), EnumMember("Yes", 1))
    assert model.enum_types["Timezone"].members[0].label == "Pacific (US & Canada)"
    assert model.entity_sets["Groups"].entity_type.key == ()


def test_only_wanted_sets_are_read_but_all_are_offered():
    asked = []

    def wanted(entity_set, type_, label):
        asked.append((entity_set, type_, label))
        return entity_set == "Widgets"

    model = read(DOCUMENT, wanted=wanted)

    assert list(model.entity_sets) == ["Widgets"]
    assert model.entity_sets["Widgets"] == read(DOCUMENT).entity_sets["Widgets"]
    assert asked == [("Widgets", "Widget", "@X:Widgets"), ("Groups", "Group", None)]
    assert model.offered == (
        OfferedSet("Widgets", "Widget", "@X:Widgets"),
        OfferedSet("Groups", "Group", None),
    )
    assert list(model.enum_types) == ["NoYes"], "the enum types that the wanted sets use"


@pytest.mark.parametrize("end", [1, 200, 1024])
def test_labels_read_alone_are_those_of_types_read_whole(end, monkeypatch):
    monkeypatch.setattr(csdl_scan, "_END", end)
    document = b"".join(full_size(sets=60, properties=900, enums=5))
    asked = {}

    read_model([document], wanted=lambda entity_set, _type, label: asked.update({entity_set: label}))

    sets = read_model([document]).entity_sets
    assert asked == {name: each.entity_type.label for name, each in sets.items()}
    assert len(set(asked.values())) > 30


@pytest.mark.parametrize("size", [1, 7, 64, 1000])
def test_the_size_of_chunks_does_not_matter(size, monkeypatch):
    monkeypatch.setattr(csdl, "_STEP", size)
    content = DOCUMENT.encode()

    model = read_model(content[at : at + size] for at in range(0, len(content), size))

    assert model == read(DOCUMENT)


def test_a_prefix_may_be_bound_to_any_namespace():
    prefixed = re.sub(r"<(/?)(?![/?!]|edmx:)", r"<\1m:", DOCUMENT).replace("edmx:", "x:")

    assert read(prefixed) == read(DOCUMENT)


@pytest.mark.parametrize("encoding", ["utf-16", "iso-8859-1"])
def test_other_encodings_are_read(encoding):
    text = DOCUMENT.lstrip("\ufeff").replace("utf-8", encoding).replace("@OPEN", "Größe")

    model = read(text.encode(encoding))

    assert model.entity_sets["Widgets"].entity_type.property("IsOpen").label == "Größe"
    assert list(model.entity_sets) == ["Widgets", "Groups"]


def test_a_type_has_what_its_base_type_has():
    text = DOCUMENT.replace(
        '<EntityType Name="Group">', '<EntityType Name="Group" BaseType="My.Entities.Widget" OpenType="true">'
    )

    group = read(text).entity_sets["Groups"].entity_type

    assert group.key == ("dataAreaId", "WidgetId")
    assert [each.name for each in group.properties] == [
        "dataAreaId",
        "WidgetId",
        "SoldOn",
        "IsOpen",
        "Plain",
        "GroupId",
    ]
    assert read(text, wanted=lambda name, *_: name == "Groups").entity_sets["Groups"].entity_type == group


@pytest.mark.parametrize("base", ["My.Entities.Group", "My.Entities.Nowhere"])
def test_a_base_type_that_leads_nowhere_is_an_error(base):
    text = DOCUMENT.replace('<EntityType Name="Group">', f'<EntityType Name="Group" BaseType="{base}">')

    with pytest.raises(MetadataError, match=r"My\.Entities\.Group extends"):
        read(text)


def test_several_schemas_and_aliases_lead_to_the_same_type():
    text = DOCUMENT.replace('Namespace="My.Entities"', 'Namespace="My.Entities" Alias="Self"')
    text = text.replace('EntityType="My.Entities.Group"', 'EntityType="Self.Group"').replace(
        'Type="My.Entities.NoYes"', 'Type="Self.NoYes"'
    )
    other = (
        '<Schema Namespace="Other"><EntityType Name="Group"><Property Name="Id" Type="Edm.Guid"/></EntityType>'
        '<EntityContainer Name="C"><EntitySet Name="OtherGroups" EntityType="Other.Group"/></EntityContainer></Schema>'
    )

    model = read(text.replace("</edmx:DataServices>", other + "</edmx:DataServices>"))

    assert model.entity_sets["Groups"].entity_type.properties[0].name == "GroupId"
    assert model.entity_sets["OtherGroups"].entity_type.properties[0].type == "Edm.Guid"
    assert model.entity_sets["Widgets"].entity_type.property("IsOpen").type == "My.Entities.NoYes"


def test_an_enum_type_and_an_entity_type_may_have_the_same_name():
    text = DOCUMENT.replace('EnumType Name="Timezone"', 'EnumType Name="Widget"')

    model = read(text)

    assert model.entity_sets["Widgets"].entity_type.key == ("dataAreaId", "WidgetId")
    assert model.enum_types["Widget"].members[0].name == "Pacific"


def test_a_set_whose_type_is_missing_is_left_out_with_the_reason():
    text = DOCUMENT.replace('EntityType="My.Entities.Group"', 'EntityType="My.Entities.Trimmed"')

    model = read(text)

    assert list(model.entity_sets) == ["Widgets"]
    assert model.left_out == {"Groups": "its type Trimmed is not in the document"}


def test_a_set_whose_key_is_not_among_its_properties_is_left_out_with_the_reason():
    text = DOCUMENT.replace('<PropertyRef Name="WidgetId" />', '<PropertyRef Name="Gone" />')

    model = read(text)

    assert model.left_out == {"Widgets": "its key names Gone, which it does not have"}


def test_annotations_of_other_things_are_not_taken_for_ours():
    stray = f'<Annotation Term="{CORE}.LabelId" String="@STRAY" />'
    text = DOCUMENT.replace('Partner="Widgets">', f'Partner="Widgets">{stray}')
    text = text.replace(
        "</Key>", f"</Key><Strange><Property Name='No' Type='Edm.Int32'>{stray}</Property></Strange>"
    )
    text = text.replace(
        '<Action Name="mend"',
        f'<ComplexType Name="C"><Property Name="P" Type="Edm.String">{stray}</Property></ComplexType><Action Name="mend"',
    )

    assert read(text) == read(DOCUMENT)


# -- the two lanes -------------------------------------------------------------------------------------------

ODDITIES = {
    "comment around a type": ('  <EntityType Name="Group">', '  <!-- <EntityType Name="Gone"> </EntityType> --><EntityType Name="Group">'),
    "comment hiding an end": ('<Property Name="Plain"', '<!-- </EntityType> --><Property Name="Plain"'),
    "comment that opens before a type": ('<EntityType Name="Group">', '<!-- <EntityType Name="A"></EntityType><EntityType Name="Group"> --><EntityType Name="Group">'),
    "CDATA": (f"<EnumMember>{CORE}.AXType/Date</EnumMember>", f"<EnumMember><![CDATA[{CORE}.AXType/Date]]></EnumMember>"),
    "instruction": ("<Key>", "<?x </EntityType> ?><Key>"),
    "apostrophes": ('Name="SoldOn"', "Name='SoldOn'"),
    "another order": ('Name="SoldOn" Type="Edm.DateTimeOffset"', 'Type="Edm.DateTimeOffset" Name="SoldOn"'),
    "a facet": ('Name="Plain" Type="Edm.String"', 'Name="Plain" Type="Edm.String" MaxLength="20"'),
    "line breaks in tags": ('<Property Name="Plain" Type', '<Property\n  Name="Plain"\n  Type'),
    "greater-than in a value": ('String="@X:Widgets"', 'String="A > B />"'),
    "greater-than in a start tag": ('<EntityType Name="Group">', '<EntityType Name="Group" Note="a > b">'),
    "character reference": ('String="@OPEN"', 'String="&#65;&quot;&lt;b&gt;"'),
    "tab in a value": ('String="@OPEN"', 'String="a\tb\nc"'),
    "exclamation mark": ('String="@OPEN"', 'String="open! really?"'),
    "space in the end tag": ("</EntityType>\n  <EntityType", "</EntityType >\n  <EntityType"),
    "a type without content": ('<EntityType Name="Group">', '<EntityType Name="Empty"/><EntityType Name="Group">'),
    "label before help": (f'<Annotation Term="{CORE}.HelpTextId" String="@HELP" />', f'<Annotation Term="{CORE}.HelpTextId" String="@HELP" /><Annotation Term="{CORE}.LabelId" String="@L" />'),
    "AXType as attribute": (f'<Annotation Term="{CORE}.AXType"><EnumMember>{CORE}.AXType/Int64</EnumMember></Annotation>', f'<Annotation Term="{CORE}.AXType" EnumMember="{CORE}.AXType/Int64" />'),
    "Int Value": ('Value="7"', 'Value=" 7 "'),
    "a member without value": ('<Member Name="Yes" Value="1" />', '<Member Name="Yes" />'),
    "a type inside a type": ("<Key>", "<EntityType Name='In'></EntityType><Key>"),
}  # fmt: skip


@pytest.mark.parametrize("oddity", ODDITIES)
@pytest.mark.parametrize("narrowed", [False, True])
def test_both_lanes_read_the_same(oddity, narrowed):
    old, new = ODDITIES[oddity]
    assert old in DOCUMENT
    content = DOCUMENT.replace(old, new, 1).encode()
    options = {"wanted": lambda name, *_: name == "Widgets"} if narrowed else {}

    quick, slow = read_model([content], **options), by_events_alone(content, **options)

    assert quick.entity_sets == slow.entity_sets
    assert quick.offered == slow.offered
    assert quick.entity_sets["Widgets"].entity_type.key == ("dataAreaId", "WidgetId")
    assert all(slow.enum_types[name] == each for name, each in quick.enum_types.items())


def test_both_lanes_read_the_same_from_a_large_document():
    content = b"".join(full_size(sets=300, properties=5000, enums=100))

    quick = read_model([content])

    assert quick == by_events_alone(content)
    assert len(quick.entity_sets) == 300
    assert sum(len(each.entity_type.properties) for each in quick.entity_sets.values()) == 5000


PIECES = st.sampled_from(
    [
        "<!--", "-->", "<![CDATA[", "]]>", "<?x", "?>", "<", ">", "/>", "&amp;", "&x;", "'", '"', " ", "\n", "é", "\x00",
        '<EntityType Name="Q">', "</EntityType>", '<EnumType Name="Q">', "</EnumType>", "</Property>", "<Key>", "</Key>",
        '<Property Name="P" Type="Edm.String">', '<Property Name="P" Type="Edm.String" />', "</Schema>", "<!DOCTYPE x>",
        f'<Annotation Term="{CORE}.LabelId" String="@Z" />', "",
    ]
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(st.integers(0, len(DOCUMENT)), st.integers(0, 12), PIECES), min_size=1, max_size=3),
    st.booleans(),
)
@example([(DOCUMENT.index("<Key>"), 0, "<!--"), (DOCUMENT.index("</EntityType>") + 13, 0, "-->")], False)
def test_a_damaged_document_means_the_same_to_both_lanes(damages, narrowed):
    text = DOCUMENT
    for at, length, piece in damages:
        text = text[:at] + piece + text[at + length :]
    content = text.encode()
    options = {"wanted": lambda name, *_: name.startswith("W")} if narrowed else {}

    quick = outcome(lambda: read_model([content], **options))
    slow = outcome(lambda: by_events_alone(content, **options))

    if narrowed and "unreadable" in (quick, slow):
        assert slow == "unreadable", (
            "what is not read is not looked at closely, but never the other way round"
        )
    elif narrowed:
        assert (quick.entity_sets, quick.offered, quick.left_out) == (
            slow.entity_sets,
            slow.offered,
            slow.left_out,
        )
    else:
        assert quick == slow


@settings(deadline=None)
@given(st.one_of(st.binary(), st.text().map(str.encode)))
def test_arbitrary_bytes_are_our_error_and_nothing_else(content):
    with pytest.raises(MetadataError):
        read_model([content])


# -- what is refused -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [0, 1, 100, 900, 1500, 3000, -1])
def test_a_document_that_was_cut_off_is_never_a_model(at):
    with pytest.raises(MetadataError, match=r"broken in line \d+"):
        read(DOCUMENT.encode()[:at])


PLAIN_LINE = DOCUMENT[: DOCUMENT.index('<Property Name="Plain"')].count("\n") + 1


def test_broken_xml_is_told_by_line_and_element():
    text = DOCUMENT.replace(
        '<Property Name="Plain" Type="Edm.String" />', '<Property Name="Plain" Type=Edm.String />'
    )

    with pytest.raises(MetadataError, match=rf'line {PLAIN_LINE}, near <Property Name="Plain"'):
        read(text)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('<Property Name="Plain" Type="Edm.String" />', '<Property Name="Plain" />', rf'<Property Name="Plain"> in line {PLAIN_LINE} has no Type'),
        ('<Property Name="Plain" Type="Edm.String" />', '<Property Type="Edm.String" />', rf"<Property> in line {PLAIN_LINE} has no Name"),
        ('<EntitySet Name="Groups" EntityType="My.Entities.Group" />', '<EntitySet Name="Groups" />', r'<EntitySet Name="Groups"> in line \d+ has no EntityType'),
        ('<EntityType Name="Group">', "<EntityType>", r"<EntityType> in line \d+ has no Name"),
        ('Value="7"', 'Value="seven"', r'<Member Name="Pacific"> in line \d+ has the value'),
    ],
    ids=["property without type", "property without name", "set without type", "type without name", "member"],
)  # fmt: skip
def test_what_an_element_lacks_is_told_by_element_and_line(old, new, message):
    assert old in DOCUMENT
    with pytest.raises(MetadataError, match=message):
        read(DOCUMENT.replace(old, new))


@pytest.mark.parametrize(
    "prologue",
    [
        '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>',
        '<!DOCTYPE x SYSTEM "file:///etc/passwd">',
        "<!DOCTYPE html>",
    ],
    ids=["entities", "outside file", "html"],
)
def test_a_document_type_declaration_is_refused(prologue):
    text = DOCUMENT.lstrip("\ufeff").replace("<edmx:Edmx", prologue + "<edmx:Edmx", 1)

    with pytest.raises(MetadataError, match="document type declaration"):
        read(text)


@pytest.mark.parametrize("place", ["<edmx:DataServices>", "<Key>"])
def test_absurd_nesting_is_refused(place):
    deep = "<a>" * 100_000 + "</a>" * 100_000

    with pytest.raises(MetadataError, match="nested deeper"):
        read(DOCUMENT.replace(place, deep + place if place == "<Key>" else place + deep))


@pytest.mark.parametrize("page", ["<html><body>Sign in</body></html>", "<?xml version='1.0'?><error/>"])
def test_another_document_in_its_place_is_named(page):
    with pytest.raises(MetadataError, match="is where an Edmx document should begin"):
        read(page)


def test_an_element_that_never_ends_is_an_error_and_is_not_held_back(monkeypatch):
    monkeypatch.setattr(csdl, "_STEP", 100)
    monkeypatch.setattr(csdl, "_LONGEST", 1000)
    start = DOCUMENT.index('  <EntityType Name="Group">')
    endless = DOCUMENT[:start] + '<EntityType Name="Group">' + '<Property Name="P" Type="Edm.String"/>' * 200

    with pytest.raises(MetadataError, match="broken in line"):
        read_model(endless[at : at + 50].encode() for at in range(0, len(endless), 50))


def test_an_element_longer_than_is_held_back_is_read_by_events(monkeypatch):
    monkeypatch.setattr(csdl, "_STEP", 100)
    monkeypatch.setattr(csdl, "_LONGEST", 300)
    content = DOCUMENT.encode()

    model = read_model(content[at : at + 50] for at in range(0, len(content), 50))

    assert model == read(DOCUMENT)


# -- genuine excerpts ----------------------------------------------------------------------------------------

EXCERPTS = {
    # file: (entity sets, properties, nullable ones, enum types)
    "asset.xml": (3, 54, 33, 6),
    "fin_short.xml": (2, 311, 275, 26),
    "sales.xml": (18, 381, 280, 43),
    "trimmed_100.xml": (10, 107, 76, 6),
}


@pytest.mark.parametrize("name", EXCERPTS)
def test_genuine_excerpts_parse_whole(samples, name):
    model = read_model([(samples / "metadata" / name).read_bytes()])

    properties = [
        each for entity_set in model.entity_sets.values() for each in entity_set.entity_type.properties
    ]
    nullable = [each for each in properties if each.nullable]
    assert (len(model.entity_sets), len(properties), len(nullable), len(model.enum_types)) == EXCERPTS[name]
    assert not model.left_out
    assert all(each.ax_type for each in properties)
    # Enum columns are nullable in every genuine document, in a key as elsewhere.
    keys = [
        each.entity_type.property(key) for each in model.entity_sets.values() for key in each.entity_type.key
    ]
    assert all(each.nullable == (each.ax_type == "Enum") for each in keys)


@pytest.mark.parametrize("name", EXCERPTS)
def test_both_lanes_read_the_same_from_genuine_excerpts(samples, name):
    content = (samples / "metadata" / name).read_bytes()

    assert read_model([content]) == by_events_alone(content)


def test_genuine_entities_have_their_keys_in_order(samples):
    def key(file, entity_set):
        return (
            read_model([(samples / "metadata" / file).read_bytes()]).entity_sets[entity_set].entity_type.key
        )

    assert key("fin_short.xml", "CustomersV3") == ("dataAreaId", "CustomerAccount")
    assert key("asset.xml", "AssetMaintenanceUnplannedWorkOrderLines") == (
        "dataAreaId",
        "WorkOrderId",
        "LineNumber",
    )
    assert key("sales.xml", "SalesInvoiceQRCode") == (
        "dataAreaId",
        "InvoiceId",
        "LedgerVoucher",
        "InvoiceDate",
    )
    assert key("trimmed_100.xml", "AdvanceInvoiceItems") == (
        "dataAreaId",
        "ParentRecId",
        "RefRecId",
        "RefTableId",
    )
    assert len(key("sales.xml", "WarrantyTransactionSales")) == 13


def test_a_genuine_entity_is_exact(samples):
    model = read_model([(samples / "metadata" / "trimmed_100.xml").read_bytes()])
    names = "Microsoft.Dynamics.DataEntities"

    entity_type = model.entity_sets["AddressFormatLines"].entity_type

    assert entity_type.label == "@SYS27741"
    assert [(each.name, each.type, each.ax_type, each.nullable) for each in entity_type.properties] == [
        ("AddressFormat", "Edm.String", "String", False),
        ("LineNumber", "Edm.Decimal", "Real", False),
        ("Separator", "Edm.String", "String", True),
        ("NotActive", f"{names}.NoYes", "Enum", True),
        ("AddressApplicationObject", f"{names}.LogisticsAddressElement", "Enum", True),
        ("DataEntryOnly", f"{names}.NoYes", "Enum", True),
        ("NewLine", f"{names}.NoYes", "Enum", True),
        ("Expand", f"{names}.NoYes", "Enum", True),
        ("Special", f"{names}.NoYes", "Enum", True),
    ]
    assert [each.label for each in entity_type.properties[:3]] == ["@SYS22504", "@SYS15682", None]
    assert len(model.enum_types["AXType"].members) == 12
    assert model.enum_types["NoYes"].members == (
        EnumMember("No", 0, "@sys2048"),
        EnumMember("Yes", 1, "@sys5461"),
    )


def test_set_and_type_names_go_through_the_container(samples):
    """A genuine pair whose set and type names are crosswise."""
    model = read_model([(samples / "metadata" / "sales.xml").read_bytes()])

    charge, charges = "SalesAutomaticSalesDocumentHeaderCharge", "SalesAutomaticSalesDocumentHeaderCharges"
    assert model.entity_sets[charge].entity_type.name == charges
    assert model.entity_sets[charges].entity_type.name == charge


# -- full size -----------------------------------------------------------------------------------------------

MEASURE = """
import resource, sys
sys.path.insert(0, sys.argv[1])
from csdl_documents import full_size, in_chunks
from tap_d365fo.edm.csdl import read_model
wanted = (lambda name, *_: name.endswith("0007V2")) if sys.argv[2] == "narrow" else None
model = read_model(in_chunks(full_size()), wanted=wanted)
print(len(model.offered), len(model.entity_sets), sum(len(e.entity_type.properties) for e in model.entity_sets.values()))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
@pytest.mark.parametrize("width", ["whole", "narrow"])
def test_a_full_size_document_is_read_within_200_mib(width):
    # From a small process: the peak that is told counts the process from which it was forked.
    start = "import subprocess, sys; sys.exit(subprocess.call(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-S", "-c", start, sys.executable, "-c", MEASURE, str(Path(__file__).parent), width],
        capture_output=True,
        text=True,
        check=True,
    )
    counts, peak_mib = done.stdout.split("\n")[:2]

    offered, sets, properties = map(int, counts.split())
    assert (offered, sets) == (SETS, SETS if width == "whole" else 1)
    assert properties == PROPERTIES or width == "narrow"
    assert int(peak_mib) < 200


def test_the_made_up_document_names_what_it_says():
    """The helper's names are what other tests narrow by."""
    model = read_model(
        in_chunks(full_size(sets=50, properties=500, enums=3), 1000),
        wanted=lambda name, *_: name == set_name(3),
    )

    assert model.entity_sets[set_name(3)].entity_type.name == type_name(3)
