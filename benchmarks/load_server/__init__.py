"""An OData server that is never the bottleneck: answers are rendered once and sent from memory.

It is for measuring, not for testing: it knows the few queries that clients of F&O send for entities with a
legal entity and one key column, and none of F&O's faults. Rows are made from a few templates; only key, legal
entity and etag differ from row to row.
"""
