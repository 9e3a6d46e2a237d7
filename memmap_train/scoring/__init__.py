"""Official scores of runs and of files of predictions, by era and in summary."""
