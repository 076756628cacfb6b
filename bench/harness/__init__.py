"""Benchmarks that accumulate: a list of runs, one result file each, tables made from the files."""
