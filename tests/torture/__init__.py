"""Long damage tests, run by `make torture`: hundreds of kills, thousands of layouts, counted."""
