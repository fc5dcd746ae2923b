"""The grammar of OData: queries out, pages in. No I/O lives here."""
