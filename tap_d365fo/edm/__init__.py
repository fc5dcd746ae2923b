"""The Entity Data Model: nouns, CSDL reading and schemas. No I/O lives here."""
