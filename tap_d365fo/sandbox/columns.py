"""The columns of the built-in entities, in the short form of `definition.columns`, and their enum types.

Where F&O's order is public the columns stand in it; the rest is put into a hash-like order later.
"""

from __future__ import annotations

from tap_d365fo.sandbox.definition import enum

TIMEZONES = enum(
    "Timezone", "GMTMINUS1200INTERNATIONALDATELINEWEST GMTMINUS0500EASTERNTIME GMT_COORDINATEDUNIVERSALTIME"
)
ENUMS = (
    TIMEZONES,
    enum("InvoiceOrderAccount", "InvoiceAccount OrderAccount"),
    enum("PaymentStub", "None ESR_blue ESR_orange FIK FI751"),
    enum("CustVendorBlocked", "No Invoice All Payment Requisition Never"),
    enum("CustWhtContributionType_BR", "Other PIS COFINS"),
    enum("Gender", "Unknown Male Female NonSpecific"),
    enum("CreditCardAddressVerificationLevel", "Accept Warn Deny"),
    enum("Tax1099Type", "None Tax1099MISC Tax1099INT"),
    enum("MonthsOfYear", "None January February March"),
    enum("Tax1099IdType", "Unknown EmployerId SocialSecurity"),
    enum("PANStatus_IN", "NotAvailable Received Applied Invalid"),
    enum("TaxPartnerKind", "NA Customer Vendor"),
    enum("TaxWithholdVendorType_TH", "Domestic Foreign Individual"),
    enum("OIDInvestorType", "None Direct Nominee"),
    enum("RetailPriceRangeBaseType", "None BasePrice NetAmount"),
    enum("ABC", "None A B C"),
    enum("WHSBOMReservationRule", "AllowPartialReservation RequireFullReservation"),
    enum("BatchMergeDateCalculationMethod", "Manual Earliest Latest"),
    enum("EcoResProductType", "Item Service"),
    enum("RetailKeyInQuantity", "NotMandatory MustKeyIn MustNotKeyIn"),
    enum("DocumentStatus", "None Quotation Active Invoiced"),
    enum("ItemReservation", "None Automatic Explosion"),
    enum("EFDocPresenceType_BR", "DoesNotApply InPerson Internet"),
    enum("SalesStatus", "None Backorder Delivered Invoiced Canceled"),
    enum("BaseDocumentType_IT", "None Order Contract"),
    enum("CTPStatus", "Ready Running Failed"),
    enum("SalesInvoiceType", "Invoice CreditNote"),
    enum("LegalNature", "None LegalPerson NaturalPerson"),
    enum("LocalizationCountryRegion", "Default DE US GB"),
    enum(
        "DimensionLedgerAccountType",
        "ProfitAndLoss Revenue Expense BalanceSheet Asset Liability Equity Total",
    ),
    enum("LedgerClosing", "None Opening Closing"),
    enum("DebCredProposal", "None Debit Credit"),
    enum("CurrencyTranslationType", "None CurrentRate WeightedAverage TransactionDate"),
    enum("LedgerJournalACType", "Ledger Cust Vend Project FixedAssets Bank"),
    enum("LedgerTransType", "None Purch Sales Payment ExchAdjustment"),
    enum("UnitOfMeasureClass", "Undefined Quantity Mass Volume Length"),
    enum("SystemOfUnits", "None Metric USA"),
    enum("FixedUnit", "Pieces Kilogram Liter"),
    enum("ExchangeRateDisplayFactor", "One Ten Hundred Thousand"),
    enum("TableGroupAll", "Table GroupId All"),
    enum("HcmWorkerStatus", "Employed Terminated Pending"),
    enum("HcmWorkerType", "Employee Contractor"),
    enum("DirPersonMaritalStatus", "None Married Single Divorced"),
    enum("CashControlMethod", "None Manual Automatic"),
    enum("DocuRestriction", "Internal External"),
    enum("ProductLifecycleState", "Draft Released Retired"),
)

CUSTOMERS = """
dataAreaId CustomerAccount PartyType PrimaryContactFaxExtension ContactPersonId
InvoiceAddress:InvoiceOrderAccount PackingMaterialFeeLicenseNumber InvoiceAddressCity
HasSuframaDiscountPISandCOFINS:n DeliveryAddressCountryRegionId IsServiceDeliveryAddressBased:n
InvoiceAddressTimeZone:Timezone SalesAccountNumber TCSGroup LineOfBusinessId ElectronicInvoiceEAN
DeliveryAddressDescription PersonInitials GiroTypeCollectionletter:PaymentStub FullPrimaryAddress
AddressLongitude:r IsFreightAccrued:n PartyNumber AddressLocationId InvoiceAddressDescription
PersonProfessionalSuffix OnHoldStatus:CustVendorBlocked DestinationCode PaymentDay PersonAnniversaryYear:i
PrimaryContactPhone SalesCurrencyCode IsSalesTaxIncludedInPrices:n TDSGroup AddressBooks ConsolidationDay:i
AddressState IsTransactionPostedAsShipment:n FiscalCode PrimaryContactEmailRecordId:l
PrimaryContactPhonePurpose CreditCardAddressVerificationIsAuthorizationVoidedOnFailure:n
CustomerWithholdingContributionType:CustWhtContributionType_BR DeliveryAddressValidTo:u
WithholdingTaxGroupCode EInvoiceAttachment:n PartyCountry SalesMemo SalesOrderPoolId OrganizationName
AddressValidTo:u PersonGender:Gender PaymentTerms WarehouseOutboundShipmentProcessingPolicyName
PrimaryContactURLRecordId:l InvoiceAddressValidTo:u InvoiceAddressValidFrom:u CreditLimit:r
CreditCardAddressVerificationLevel:CreditCardAddressVerificationLevel SiteId ChargesGroupId NameAlias
VendorAccount PersonHobbies IsOneTimeCustomer:n AddressValidFrom:u OrganizationNumberOfEmployees:i
CustomerGroupId DeliveryAddressZipCode DiscountPriceGroupId WriteoffReason LanguageId SATRegistrationName_MX
IsSimplifiedDeliveryAddress:n CredManStatusReasonId CredManWithAgency:n CredManNextSchedReviewDate:d
CredManCustomerSince:d CredManNotes CredManCreditLimitExpiryDate:d
"""

VENDORS = """
dataAreaId VendorAccountNumber Tax1099Type:Tax1099Type FactoringVendorAccountNumber VendorGroupId
PersonMiddleName CommercialRegisterInsetNumber AddressDistrictName AddressCountyId AddressStateId
DefaultOffsetLedgerAccountDisplayValue IsVendorLocallyOwned:n PricePointGroupId
IsIncomingFiscalDocumentGenerated:n PurchaseShipCalendarId AddressLatitude:r PrimaryContactFaxRecordId:l
CISVerificationNumber AddressTimeZone:Timezone PrimaryFacebookPurpose PriceVendorGroupId
IsPrimaryPhoneNumberMobile:n PersonAnniversaryMonth:MonthsOfYear Tax1099BoxId OnHoldStatus:CustVendorBlocked
IsOwnerDisabled:n CreditLimit:r Tax1099IdType:Tax1099IdType VendorHoldReleaseDate:u IsICMSContributor:n
PANStatus:PANStatus_IN TaxPartnerKind:TaxPartnerKind TaxAgent:n VendorOrganizationName
DefaultPaymentScheduleName WithholdingTaxVendorType:TaxWithholdVendorType_TH PrimaryTwitter Notes
VendorPartyType CUSIPDetails DefaultVendorPaymentMethodName AddressZipCode IsW9CheckingEnabled:n AddressBooks
DefaultLedgerDimensionDisplayValue OIDInvestorType:OIDInvestorType PersonInitials EthnicOriginId
IsImportCostingVendor:n
"""

PRODUCTS = """
dataAreaId ItemNumber SeventhProductFilterCode ShippingAndReceivingSortOrderCode:i WarehouseFilterCode
PurchaseSalesTaxItemGroupCode WarehouseMobileDeviceDescriptionLine1 IsPOSRegistrationQuantityNegative:n
WarrantablePriceRangeBaseType:RetailPriceRangeBaseType IsSelfCheckoutRegistrationBlocked:n
PhysicalDimensionGroupId ShipStartDate:d SalesPrice:r SATCode ProductionConsumptionDensityConversionFactor:r
ProductSearchName ValueABCCode:ABC MaximumPickQuantity:r
WarehouseBomReleaseReservationRequirementRule:WHSBOMReservationRule ProductLifeCycleValidToDate:d
InventoryUnitSymbol BatchMergeDateCalculationMethod:BatchMergeDateCalculationMethod PurchasePrice:r
IsIntercompanyPurchaseUsageBlocked:n PurchaseOverdeliveryPercentage:r YieldPercentage:r
DefaultProductVersionId IntrastatChargePercentage:r ProductType:EcoResProductType BOMLevel:i
IsUnitCostAutomaticallyUpdated:n UnitCost:r SerialNumberGroupCode
KeyInQuantityRequirementsAtPOSRegister:RetailKeyInQuantity ContinuityEventDuration:r
ProductDimensionGroupName PackageClassId MinimumCatchWeightQuantity:r ProductNumber IsSerialNumberActive:n
RevRecMedianPriceMaximumTolerance:r RevRecRevenueRecognitionEnabled:n QMSUnderDispensePercentage:r
"""

SALES_ORDERS = """
dataAreaId SalesOrderNumber SalesOrderProcessingStatus:DocumentStatus OrderTotalAmount:r ContactPersonId
TotalDiscountPercentage:r InventoryReservationMethod:ItemReservation URL BaseDocumentNumber
InvoiceAddressStreet IsServiceDeliveryAddressBased:n InvoiceAddressTimeZone:Timezone
FiscalOperationPresenceType:EFDocPresenceType_BR CustomerPaymentMethodName DeliveryAddressDescription
CashDiscountCode CampaignId ConfirmedReceiptDate:d OrderingCustomerAccountNumber TransportationBrokerId
IsExportSale:n IsInvoiceAddressPrivate:n OrderCreationDateTime:u CommissionSalesRepresentativeGroupId
TransportationDocumentLineId:g SalesOrderStatus:SalesStatus DeliveryAddressDunsNumber
BaseDocumentLineNumber:r SalesOrderName BaseDocumentType:BaseDocumentType_IT CurrencyCode
FullRunCTPStatus:CTPStatus Email OrderOrAgreementCode DeliveryAddressName InvoiceAddressZipCode
IsOneTimeCustomer:n InvoiceAddressStateId RequestedShippingDate:d DeliveryBuildingCompliment
InvoiceType:SalesInvoiceType OverrideSalesTax:n CommissionCustomerGroupId RevRecFollowOriginalPricingMethod:n
RevRecLatestReverseJournal:l
"""

SALES_LINES = """
dataAreaId InventoryLotId SalesOrderNumber LineNumber:r ItemNumber OrderedSalesQuantity:r SalesPrice:r
LineAmount:r LineDescription SalesUnitSymbol ShippingSiteId ShippingWarehouseId RequestedShippingDate:d
ConfirmedShippingDate:d SalesOrderLineStatus:SalesStatus IsLineStopped:n LineDiscountPercentage:r
SalesTaxGroupCode SalesTaxItemGroupCode DeliveryModeCode DefaultLedgerDimensionDisplayValue
ExternalItemNumber LineCreationSequenceNumber:i ItemBatchNumber CurrencyCode DeliveryAddressName
OverdeliveryPercentage:r UnderdeliveryPercentage:r ProjectId ServiceOrderNumber
"""

CUSTOMER_GROUPS = """
dataAreaId CustomerGroupId ClearingPeriodPaymentTermName CustomerAccountNumberSequence
DefaultDimensionDisplayValue AccountingCurrencyExchangeRateType IsSalesTaxIncludedInPrice:n Description
WriteOffReason ReportingCurrencyExchangeRateType PaymentTermId TaxGroupId IsPublicSector_IT:n
"""

MAIN_ACCOUNTS = """
ChartOfAccounts MainAccountId MainAccountRecId:l SRUCode MainAccountType:DimensionLedgerAccountType Name User
Closing:LedgerClosing AccountCategoryDescription ForeignCurrencyRevaluation:n OffsetAccountDisplayValue
ParentMainAccountId FinancialReportingCurrencyTranslationType:CurrencyTranslationType DefaultCurrency
DebitCreditDefault:DebCredProposal ActiveTo:d MandatoryPaymentReference:n Monetary:n OpeningAccountId
IsSuspended:n ChartOfAccountsRecId:l MainAccountCategory DefaultConsolidationAccount DoNotAllowManualEntry:n
ActiveFrom:d NatureCode_BR
"""

LEGAL_ENTITIES = """
LegalEntityId PrimaryContactFacebookIsPrivate:n PrimaryContactFacebook AddressTimeZone:Timezone CurpNumber
CUC AddressDescription AddressLongitude:r CompanyName PersonInCharge PrimaryContactPhoneIsMobile:n
PrintCorrectiveInvoiceStartingDate:d LegalNature:LegalNature NameAlias TraderNumber PrintINNKPPInAddress:n
TimeZone:Timezone BusinessItem PartyNumber PrimaryContactPhone UseForFinancialEliminationProcess:n
LegalRepresentativeName AddressCity AddressZipCode PrimaryContactEmail Name CompanyCountry RegistrationNumber
AddressStreet FullPrimaryAddress LanguageId LocalizationCountryRegionCode:LocalizationCountryRegion VATNum
VATRefund:n
"""

UNITS = """
UnitSymbol IsFixedUnitSymbolAssigned:n SystemOfUnits:SystemOfUnits IsSystemUnit:n
FixedUnitSymbolAssignment:FixedUnit UnitClass:UnitOfMeasureClass UnitDescription IsBaseUnit:n
DecimalPrecision:i NationalCode
"""

WORKERS = """
PersonnelNumber Name FirstName MiddleName LastName WorkerStatus:HcmWorkerStatus WorkerType:HcmWorkerType
OriginalHireDateTime:u BirthDate:d PrimaryContactEmail PrimaryContactPhone PrimaryContactPhoneExtension
Gender:Gender MaritalStatus:DirPersonMaritalStatus TitleId ProfessionalTitle LanguageId OfficeLocation
AddressCity AddressCountryRegionId AddressStreet AddressZipCode PartyNumber NameAlias KnownAs
"""

EXCHANGE_RATES = """
RateTypeName FromCurrency ToCurrency StartDate:d EndDate:d Rate:r ConversionFactor:ExchangeRateDisplayFactor
RateTypeDescription
"""

JOURNAL_LINES = """
dataAreaId JournalBatchNumber LineNumber:r Voucher TransDate:d AccountType:LedgerJournalACType
AccountDisplayValue Text CurrencyCode DebitAmount:r CreditAmount:r ExchangeRate:r ReportingCurrencyExchRate:r
DueDate:d DocumentDate:d Document OffsetAccountType:LedgerJournalACType OffsetAccountDisplayValue
SalesTaxGroup ItemSalesTaxGroup DefaultDimensionDisplayValue PaymentReference
IsWithholdingCalculationEnabled:n PostedTime:t
"""

CUSTOMER_TRANSACTIONS = """
dataAreaId SourceKey:l SysModifiedDateTime:u CreatedOn:u AccountNum Voucher TransDate:d AmountCur:r
AmountMST:r CurrencyCode Invoice DocumentNum DocumentDate:d DueDate:d TransType:LedgerTransType Txt
Approved:n Closed:d LastSettleVoucher LastSettleDate:d ExchRate:r SettleAmountCur:r SettleAmountMST:r
PostingProfile PaymMode OrderAccount DefaultDimension:l SysRecVersion:i Prepayment:n
BankCentralBankPurposeText CorrectedTransType:n
"""

JOURNAL_ENTRIES = """
SourceKey:l AccountDisplayValue AccountingCurrencyAmount:r ReportingCurrencyAmount:r
TransactionCurrencyAmount:r TransactionCurrencyCode IsCorrection:n IsCredit:n JournalNumber LedgerAccount
Text PostingType:LedgerTransType GeneralJournalEntry:l LedgerDimension:l MainAccount:l PaymentReference
Quantity:r AllocationLevel:i
"""

CASH_CONTROL = """
CashControlMethod:CashControlMethod ConfigurationName IsActive:n MaximumCashAmount:r ActivatedOn:d
CurrencyCode
"""

POSTING_SETUPS = """
dataAreaId AccountCode:TableGroupAll CustomerAccountOrGroup PostingProfile SummaryMainAccountIdDisplayValue
SettlementMainAccountIdDisplayValue SalesTaxPrepayments InterestTermCode CollectionLetterSequence
"""

ATTACHMENTS = """
dataAreaId DocumentAttachmentId:g CustomerAccount FileName FileType FileContents:x AttachedDateTime:u
AttachmentDescription AccessRestriction:DocuRestriction SizeInBytes:i AttachedTime:t
"""

SHIPMENT_SETTINGS = """
dataAreaId IsDefaultSetting:b SettingName WarehouseId MaximumWeight:r CarrierAccount IsLabelPrinted:n
"""

DATA_MANAGEMENT_ENTITIES = """
EntityName TargetEntity EntityCategory StagingTable ChangeTrackingEnabled:n RefreshedDateTime:u
"""
