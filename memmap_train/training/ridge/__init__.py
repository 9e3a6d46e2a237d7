"""`model = "ridge"`: a ridge regression in closed form, from sums of products over the eras."""
