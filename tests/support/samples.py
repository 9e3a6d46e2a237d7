"""The files of a sample, and the sizes of the one that tests read."""

SOURCES = ("train.parquet", "validation.parquet", "live.parquet")
BENCHMARKS = (
    "train_benchmark_models.parquet",
    "validation_benchmark_models.parquet",
    "live_benchmark_models.parquet",
    "meta_model.parquet",
)
FILES = (*SOURCES, "features.json", *BENCHMARKS)

# Rows that neither 5 nor 20 divides, so that rounding is at work.
ROWS, FEATURES, ERAS, SEED = 53, 12, 180, 7


def range_names(n_features: int) -> list[str]:
    return [f"feature_{number}" for number in range(n_features)]
