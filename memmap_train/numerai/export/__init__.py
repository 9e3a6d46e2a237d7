"""A model upload: numpy code and weights that Numerai runs, made and tried."""
