"""Benchmarks: speeds, each with a physical limit measured in the same run (`make bench`)."""
