"""The format of a dataset on disk: its specification and its constants.  Format version 1.

A dataset is a folder::

    DATASET/
      manifest.json            written last: without it there is no dataset
      era-0001/
        features.npy           (rows, features)  float32, or int8 codes; C order; little endian
        targets.npy            (rows, targets)   float32, NaN where unlabelled
        ids.npy                (rows,)           fixed-width bytes; absent if the source has no id
        counts.npy             (features, 6)     int32; absent in datasets of earlier versions
        benchmarks.npy         (rows, benchmarks) float32, NaN where a row has no value; in every
                                                 era if the manifest lists a benchmark, else absent

Row *i* of an era's features, targets, ids and benchmarks is the same row; rows keep the order of
the source.
Eras are sorted as numbers where their label holds one, dates as dates after them, then others. The
label is the source's text; a whole number in decimal, a date, or a timestamp at midnight, as
`2024-01-05`, another timestamp as `2024-01-05T12:30:00`. The folder is `era-` + the label,
percent-encoded where a byte isn't one of ``A-Z a-z 0-9 _ - .``.

`counts` has the number of rows of the era in which the source has code 0, 1, 2, 3, 4 (columns 0 to
4), and in which the feature is missing (column 5), before a missing value is replaced. In a source
of floats, the codes are the values 0, 0.25, 0.5, 0.75 and 1, as float32; other values are counted
in no column, and the six counts then add up to fewer than the era's rows.

`benchmarks` has predictions by models of other people, joined by era and id: scores and transforms
of targets use them, and they are never features. A dataset with benchmarks has ids.

`manifest.json` is UTF-8 JSON with sorted keys. A reader ignores keys that it doesn't know and
refuses a `format_version` that it doesn't know.

=================  =================================================================================
key                value
=================  =================================================================================
format             "memmap-train"
format_version     1
created_by         {package, numpy, pyarrow: version}
dtype              "float32" or "int8": the store dtype of the features
scale              {multiply, add}: float32 = code * multiply + add; null for float32
missing            "0.5" or "nan": what stands in place of a missing feature
features           names in column order
targets            names in column order
benchmarks         names in column order; absent if there are none
aliases            {target: the named target that equals it in every row}
feature_sets       {name: features}, only sets of which no feature is missing
n_rows             rows of all eras
columns            {era, id: the sources' column names}
planted            the best possible score of a sample's validation eras; absent elsewhere
sources            [{name, bytes, modified (UTC, ISO 8601), footer_digest}]
benchmark_sources  the files that the benchmarks come from, as in sources; absent without benchmarks
history            the sources before each update, oldest first; absent before the first one
shards             [{era, rows, data_type {value: rows}, missing_features, target_nulls {name: n},
                   benchmark_nulls {name: n} (absent without benchmarks), files {array: {bytes,
                   digest}}}]
=================  =================================================================================

Capabilities: any era can be opened with ``numpy.load(path, mmap_mode="r")`` and nothing else.
Limitations: no compression (the page cache holds exactly what training reads), one store dtype for
all features. A manifest is untrusted input: names become paths only through `era_folder`, and sizes
are compared with the files before anything is mapped.
"""

FILE_NAME = "manifest.json"
WORKSPACE = ".convert"  # the folder, inside the dataset's, of a conversion under way
FORMAT = "memmap-train"
FORMAT_VERSION = 1
STORE_DTYPES = ("float32", "int8")
MISSING_CHOICES = ("0.5", "nan")
MAX_ID_BYTES = 4096
MAX_FOLDER_BYTES = 255  # of a name, in the file systems that people use
ARRAY_NAMES = ("features", "targets", "ids", "counts", "benchmarks")
N_COUNTS = 6
"""Columns of `counts`: rows that hold code 0, 1, 2, 3, 4, and rows where it is missing."""
MISSING_COUNT = N_COUNTS - 1
"""The column of `counts` for rows where a feature is missing."""
HEADER_BYTES = 128  # of the files that this package writes; others' headers are parsed
MAX_HEADER_BYTES = 4096
