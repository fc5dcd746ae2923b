"""Discovery: which entities, by which names, by which method, and why."""

from __future__ import annotations

from types import MappingProxyType

import pytest

from tap_d365fo.config import Config
from tap_d365fo.edm.model import EdmModel, EntitySet, EntityType, NavigationProperty, OfferedSet, Property
from tap_d365fo.errors import ConfigurationError
from tap_d365fo.extraction.discovery import discover, wanted_sets
from tap_d365fo.extraction.methods import CREATED_STAMPS, MODIFIED_STAMPS
from tap_d365fo.extraction.names import public_names

REQUIRED = {
    "environment_url": "https://contoso.operations.dynamics.com",
    "tenant_id": "11111111-1111-4111-8111-111111111111",
    "client_id": "22222222-2222-4222-8222-222222222222",
    "client_secret": "made-up~value",
}
COMPANY = Property("dataAreaId", "Edm.String", nullable=False, ax_type="String")
SOURCE_KEY = Property("SourceKey", "Edm.Int64", nullable=False, ax_type="Int64")
NUMBER = Property("Number", "Edm.String", nullable=False, ax_type="String")


def config(**settings):
    return Config.from_mapping({**REQUIRED, **settings})


def instant(name):
    return Property(name, "Edm.DateTimeOffset", nullable=False, ax_type="UtcDateTime")


def day(name):
    return Property(name, "Edm.DateTimeOffset", nullable=False, ax_type="Date")


def entity_set(name, *properties, key=("dataAreaId", "Number"), type_name=None, label=None):
    columns = {
        each.name: each for each in (COMPANY, NUMBER, *properties) if each.name in key or each in properties
    }
    return EntitySet(name, EntityType(type_name or name, key, tuple(columns.values()), label=label))


def model_of(*entity_sets, **more):
    return EdmModel(
        MappingProxyType({each.name: each for each in entity_sets}),
        offered=tuple(
            OfferedSet(each.name, each.entity_type.name, each.entity_type.label) for each in entity_sets
        ),
        **more,
    )


def only(entity_set_, **settings):
    (entity,) = discover(model_of(entity_set_), config(**settings))
    return entity


# -- methods by nature ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", MODIFIED_STAMPS)
def test_every_known_stamp_of_change_makes_an_entity_incremental(name):
    entity = only(entity_set("Anything", instant(name)))

    assert (entity.method, entity.replication_key) == ("timestamp", name)
    assert name in entity.why


@pytest.mark.parametrize(
    ("set_name", "stamp", "method"),
    [
        ("ServiceOrders", "ServiceOrderModifiedDateTime", "timestamp"),
        ("ServiceOrders", "ServiceOrder_LastModifiedDateTime1", "timestamp"),
        ("ServiceOrders", "CustomerModifiedDateTime", "full"),
        ("ServiceOrders", "ValidFrom", "full"),
        ("ServiceOrders", "StatusDateTime", "full"),
        ("LeaseBooks", "LeaseModificationDate", "full"),
    ],
)
def test_a_stamp_is_trusted_by_its_name_only(set_name, stamp, method):
    """A stamp with another entity's name moves when that entity changes."""
    assert only(entity_set(set_name, instant(stamp))).method == method


@pytest.mark.parametrize(
    "name", ["LeaseModificationDate", "ChangedDate", "LastUpdateDate", "SysModifiedDateTime"]
)
def test_a_calendar_date_is_no_stamp_whatever_its_name(name):
    entity = only(entity_set("LeaseBooks", day(name)))

    assert (entity.method, entity.replication_key) == ("full", None)
    if name != "LastUpdateDate":
        assert f"{name} is a calendar date" in entity.why


def test_a_text_with_a_stamps_name_is_no_stamp():
    assert only(entity_set("Anything", Property("SysModifiedDateTime", "Edm.String"))).method == "full"


def test_a_stamp_of_change_is_taken_before_one_of_creation_and_the_surer_before_the_other():
    entity = only(
        entity_set(
            "CustTransBiEntities", instant("CreatedOn"), instant("ModifiedOn"), instant("SysModifiedDateTime")
        )
    )

    assert entity.replication_key == "SysModifiedDateTime"


@pytest.mark.parametrize("name", CREATED_STAMPS)
def test_a_stamp_of_creation_is_not_taken_by_itself(name):
    entity = only(entity_set("SalesOrderHeadersV2", instant(name)))

    assert entity.method == "full"
    assert name in entity.why


def test_postings_that_never_change_are_read_by_their_growing_key():
    ledger = entity_set("GeneralJournalAccountEntryBiEntities", SOURCE_KEY, key=("SourceKey",))
    scoped = entity_set("ProjTransBiEntities", SOURCE_KEY, key=("dataAreaId", "SourceKey"))

    for each in (ledger, scoped):
        entity = only(each, change_store="/tmp/changes")
        assert (entity.method, entity.replication_key) == ("sequence", "SourceKey")
        assert "never change" in entity.why


@pytest.mark.parametrize(
    "entity_set_",
    [
        entity_set("CustGroupBiEntities", SOURCE_KEY, key=("dataAreaId", "SourceKey")),
        entity_set("VendTransBiEntities", SOURCE_KEY, NUMBER, key=("dataAreaId", "Number")),
        entity_set("LedgerEntries", SOURCE_KEY, key=("SourceKey",)),
    ],
    ids=["not postings", "another key", "no BI entity"],
)
def test_other_entities_with_a_source_key_may_change_and_are_read_whole(entity_set_):
    assert only(entity_set_).method == "full"


def test_the_change_store_turns_sweeps_on_for_entities_without_a_stamp():
    plain, stamped = (
        entity_set("CustomersV3"),
        entity_set("CustTransBiEntities", instant("SysModifiedDateTime")),
    )
    keyless = entity_set("Certifications", NUMBER, key=())

    found = discover(model_of(plain, stamped, keyless), config(change_store="/tmp/changes"))

    assert [each.method for each in found] == ["sweep", "timestamp", "full"]
    assert [each.replication_method for each in found] == ["LOG_BASED", "INCREMENTAL", "FULL_TABLE"]


def test_without_a_key_everything_is_read_even_with_a_stamp():
    entity = only(
        entity_set("Certifications", instant("SysModifiedDateTime"), key=()), change_store="/tmp/changes"
    )

    assert (entity.method, entity.key) == ("full", ())
    assert "no key" in entity.why


def test_the_reason_is_one_sentence():
    model = model_of(
        entity_set("A", instant("SysModifiedDateTime")),
        entity_set("B"),
        entity_set("C", NUMBER, key=()),
        entity_set("GeneralJournalAccountEntryBiEntities", SOURCE_KEY, key=("SourceKey",)),
    )

    for settings in ({}, {"change_store": "/tmp/changes"}):
        for entity in discover(model, config(**settings)):
            assert entity.why.endswith(".")
            assert ". " not in entity.why
            assert entity.why[0].isupper()


# -- methods as asked ----------------------------------------------------------------------------------------

STAMPED = entity_set(
    "SalesOrderHeadersV2",
    instant("OrderCreationDateTime"),
    day("ConfirmedOn"),
    Property("RecordId", "Edm.Int64"),
    SOURCE_KEY,
)


@pytest.mark.parametrize(
    ("options", "method", "replication_key"),
    [
        ({"method": "timestamp"}, "timestamp", "OrderCreationDateTime"),
        ({"replication_key": "OrderCreationDateTime"}, "timestamp", "OrderCreationDateTime"),
        ({"replication_key": "ordercreationdatetime"}, "timestamp", "OrderCreationDateTime"),
        ({"method": "timestamp", "replication_key": "ConfirmedOn"}, "timestamp", "ConfirmedOn"),
        ({"method": "sequence"}, "sequence", "SourceKey"),
        ({"method": "sequence", "replication_key": "RecordId"}, "sequence", "RecordId"),
        ({"replication_key": "RecordId"}, "sequence", "RecordId"),
        ({"method": "full"}, "full", None),
        ({"method": "sweep"}, "sweep", None),
    ],
    ids=str,
)
def test_what_the_user_asks_for_is_done(options, method, replication_key):
    entity = only(STAMPED, entity_options={"salesorderheadersv2": options}, change_store="/tmp/changes")

    assert (entity.method, entity.replication_key) == (method, replication_key)
    assert entity.why.startswith("entity_options asks for")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "timestamp", "replication_key": "OrderCreateDateTime"}, r"no property OrderCreateDateTime; the nearest are OrderCreationDateTime"),
        ({"method": "timestamp", "replication_key": "Number"}, r"needs a date-time as replication_key, and Number is Edm\.String"),
        ({"method": "sequence", "replication_key": "OrderCreationDateTime"}, r"needs an integer as replication_key"),
        ({"method": "full", "replication_key": "RecordId"}, r"full has no replication key"),
        ({"method": "package"}, r"package is not offered yet"),
        ({"method": "sweep"}, r"sweep needs the setting change_store"),
    ],
    ids=str,
)  # fmt: skip
def test_what_cannot_be_is_told_with_the_reason(options, message):
    with pytest.raises(ConfigurationError, match=rf"entity_options\.SalesOrderHeadersV2: .*{message}"):
        only(STAMPED, entity_options={"SalesOrderHeadersV2": options})


@pytest.mark.parametrize("method", ["timestamp", "sequence", "sweep"])
def test_without_a_key_only_full_reads_are_possible(method):
    keyless = entity_set("Certifications", instant("ModifiedOn"), SOURCE_KEY, key=())

    with pytest.raises(ConfigurationError, match="needs a key"):
        only(keyless, entity_options={"Certifications": {"method": method}}, change_store="/tmp/changes")
    assert only(keyless, entity_options={"Certifications": {"method": "full"}}).method == "full"


@pytest.mark.parametrize("method", ["timestamp", "sequence"])
def test_a_method_that_finds_no_column_says_so(method):
    with pytest.raises(ConfigurationError, match="none was found; name one as replication_key"):
        only(entity_set("CustomersV3"), entity_options={"CustomersV3": {"method": method}})


def test_all_problems_are_told_at_once():
    settings = config(
        entities=["Custmers*", "SalesOrderHeadersV2"],
        entity_options={"SalesOrderHeadersV2": {"method": "sweep"}, "SalesOrderHeaderV2": {"method": "full"}},
    )

    with pytest.raises(ConfigurationError) as raised:
        discover(model_of(STAMPED, entity_set("CustomersV3")), settings)

    assert len(raised.value.problems) == 3
    told = str(raised.value)
    assert '"Custmers*"' in told
    assert "CustomersV3" in told
    assert (
        "entity_options.SalesOrderHeaderV2: there is no entity set of that name; the nearest are SalesOrderHeadersV2"
        in told
    )
    assert "entity_options.SalesOrderHeadersV2: method sweep needs" in told


# -- names ---------------------------------------------------------------------------------------------------

CUSTOMERS = entity_set(
    "CustomersV3", type_name="CustomerV3", label="@AccountsReceivable:CustCustomerV3EntityLabel"
)
GROUPS = entity_set("CustomerGroups", type_name="CustomerGroup", label="Customer groups")
VENDORS = entity_set("VendorsV2", type_name="VendorV2")
NAMES = public_names(
    [
        {
            "Name": "CustCustomerV3Entity",
            "PublicEntityName": "CustomerV3",
            "PublicCollectionName": "CustomersV3",
            "LabelId": "@AccountsReceivable:CustCustomerV3EntityLabel",
            "EntityCategory": "Master",
        },
        {
            "Name": "VendVendorV2Entity",
            "PublicCollectionName": "VendorsV2",
            "LabelId": None,
            "EntityCategory": None,
        },
        {"Name": "NotPublic", "PublicCollectionName": "", "LabelId": "@X:Y"},
        {"Name": "NotPublicEither", "PublicCollectionName": None},
    ],
    label_texts={"@AccountsReceivable:CustCustomerV3EntityLabel": "Customers V3"},
)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("CustomersV3", ["CustomersV3"]),
        ("customersv3", ["CustomersV3"]),
        ("CustomerV3", ["CustomersV3"]),
        ("CustCustomerV3Entity", ["CustomersV3"]),
        ("customers v3", ["CustomersV3"]),
        ("@AccountsReceivable:CustCustomerV3EntityLabel", ["CustomersV3"]),
        ("customer groups", ["CustomerGroups"]),
        ("Cust*", ["CustomersV3", "CustomerGroups"]),
        ("*V?", ["CustomersV3", "VendorsV2"]),
        ("[CV]*", ["CustomersV3", "CustomerGroups", "VendorsV2"]),
        ("vend*entity", ["VendorsV2"]),
    ],
)
def test_an_entity_is_found_by_any_of_its_names(pattern, found):
    entities = discover(model_of(CUSTOMERS, GROUPS, VENDORS), config(entities=[pattern]), names=NAMES)

    assert [each.name for each in entities] == found
    assert all(each.selected_by_default for each in entities)


def test_without_entities_everything_is_found_and_nothing_selected():
    entities = discover(model_of(CUSTOMERS, GROUPS), config())

    assert [each.name for each in entities] == ["CustomersV3", "CustomerGroups"]
    assert not any(each.selected_by_default for each in entities)


def test_what_the_metadata_service_knows_is_kept():
    customers, vendors = discover(model_of(CUSTOMERS, VENDORS), config(), names=NAMES)

    assert (customers.aot_name, customers.label, customers.category) == (
        "CustCustomerV3Entity",
        "Customers V3",
        "Master",
    )
    assert (vendors.aot_name, vendors.label, vendors.category) == ("VendVendorV2Entity", None, None)
    assert discover(model_of(CUSTOMERS), config())[0].label == "@AccountsReceivable:CustCustomerV3EntityLabel"


def test_a_pattern_that_fits_nothing_names_the_nearest_names_of_every_kind():
    with pytest.raises(ConfigurationError, match=r'"CustCustomrV3Entity".*CustCustomerV3Entity'):
        discover(model_of(CUSTOMERS, GROUPS), config(entities=["CustCustomrV3Entity"]), names=NAMES)
    with pytest.raises(ConfigurationError, match=r"gave no AOT names and label texts.*CustomersV3"):
        discover(model_of(CUSTOMERS, GROUPS), config(entities=["CustomersV3x"]))


def test_nearest_names_come_from_all_that_is_offered_even_if_only_some_was_read():
    settings = config(entities=["GROUPS*", "VendorsV2"])
    wanted = wanted_sets(settings)
    narrowed = EdmModel(
        MappingProxyType({"VendorsV2": VENDORS}), offered=model_of(CUSTOMERS, GROUPS, VENDORS).offered
    )

    assert [wanted(each.name, each.type_name, each.label) for each in narrowed.offered] == [
        False,
        False,
        True,
    ]
    with pytest.raises(ConfigurationError, match=r'"GROUPS\*"'):
        discover(narrowed, settings)
    assert wanted_sets(config()) is None


def test_what_the_document_does_not_describe_is_left_out_and_told(caplog):
    model = model_of(CUSTOMERS, left_out=MappingProxyType({"Broken": "its type X is not in the document"}))

    assert [each.name for each in discover(model, config())] == ["CustomersV3"]
    assert "Broken is left out: its type X is not in the document." in caplog.text


# -- the entity ----------------------------------------------------------------------------------------------


def test_an_entity_knows_its_key_company_and_dates():
    entity = only(
        entity_set("ExchangeRates", day("StartDate"), instant("ModifiedOn"), key=("dataAreaId", "StartDate"))
    )

    assert [each.name for each in entity.key_properties] == ["dataAreaId", "StartDate"]
    assert [each.name for each in entity.date_properties] == ["StartDate"]
    assert entity.is_company_scoped
    assert entity.can_seek
    assert entity.is_incremental
    assert entity.replication_property == instant("ModifiedOn")


@pytest.mark.parametrize(
    ("column", "can_seek"),
    [
        (Property("Kind", "My.Enum"), False),
        (Property("Kind", "Edm.Guid"), False),
        (Property("Kind", "Edm.Decimal"), True),
    ],
)
def test_an_entity_can_be_sought_in_only_if_all_its_key_can_be_compared(column, can_seek):
    assert only(entity_set("Anything", column, key=("Number", "Kind"))).can_seek is can_seek
    assert not only(entity_set("Anything", NUMBER, key=())).can_seek


def test_relations_are_kept():
    relation = NavigationProperty("Groups", "My.Group", is_collection=True)
    whole = EntitySet("A", EntityType("A", ("Number",), (NUMBER,), (relation,)))

    assert only(whole).navigation_properties == (relation,)
    assert not only(whole).is_company_scoped
