"""Long damage tests, run by `make torture`: hundreds of kills and thousands of layouts."""
