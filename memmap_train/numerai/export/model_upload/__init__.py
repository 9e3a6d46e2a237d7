"""The code that a model upload carries: what runs at Numerai.

It imports numpy alone, and nothing of the package: all of it is pickled by value. Weights are
bytes. Nothing of numpy is used while the modules are imported, since an interpreter without numpy
may pickle them.
"""
