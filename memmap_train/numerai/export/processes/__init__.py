"""Programs that other interpreters run by their paths: they import nothing of the package."""
