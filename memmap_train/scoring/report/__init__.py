"""One HTML page of an evaluation: charts that Vega draws, and tables that hold their numbers."""
