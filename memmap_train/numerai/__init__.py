"""The way to Numerai and from it: the only user of numerapi and cloudpickle."""
