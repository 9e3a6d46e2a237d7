"""The way to and from Numerai; the only user of cloudpickle."""
