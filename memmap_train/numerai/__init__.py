"""The way to Numerai and from it: the only user of numerapi, numerai-tools and cloudpickle."""
