"""Benchmarks: programs measured in pairs, in one run, against a server that waits for them."""
