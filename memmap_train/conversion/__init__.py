"""From parquet files, or a dataset, to a dataset. Only `conversion.parquet` imports pyarrow."""
