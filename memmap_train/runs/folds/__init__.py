"""Which eras of a dataset are trained on, which are scored, and which are left out between them."""
