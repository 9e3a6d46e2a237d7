"""Long damage tests, run by `make torture`: hundreds of kills, counted."""
