"""The declaration of the commands that train, predict and score models, and of their help.

Takes the commands of a parser; adds to them. Imports nothing else of the package but, for
`--help-config`, the configuration.
"""

import argparse
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .strict_parser import add_command, folds

_MIN_HELP_WIDTH, _MAX_HELP_WIDTH = 60, 100  # characters of a line


class _HelpConfig(argparse.Action):
    """Print the keys of the configuration and exit, whatever other arguments are missing."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, **options)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from ..runs.configuration.config_help import config_help  # needs pydantic

        width = min(shutil.get_terminal_size().columns, _MAX_HELP_WIDTH)
        parser._print_message(config_help(max(width, _MIN_HELP_WIDTH)) + "\n", sys.stdout)
        parser.exit()


def add_model_commands(commands: Any) -> None:
    """Add the commands, in the order in which a model goes through them."""
    for add in (_add_train, _add_runs, _add_predict, _add_evaluate, _add_report):
        add(commands)


def _add_train(commands: Any) -> None:
    parser = add_command(
        commands,
        "train",
        "train a model on a dataset",
        "memmap-train train data/shards --run runs/first --set features=medium --set epochs=20",
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument("--run", required=True, metavar="DIR", help="the run's folder")
    parser.add_argument("--config", type=Path, metavar="FILE", help="a flat TOML file")
    parser.add_argument(
        "--help-config", action=_HelpConfig, help="show all keys of the configuration and exit"
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="a key of the configuration; repeatable",
    )
    parser.add_argument(
        "--sweep",
        type=Path,
        metavar="FILE",
        help="train a run for each combination of the values in a TOML file of lists by key, or "
        "for sweep_runs random ones",
    )
    parser.add_argument("--resume", action="store_true", help="resume where the run was stopped")
    parser.add_argument(
        "--seeds",
        type=int,
        metavar="N",
        help="train with so many seeds, the configuration's and the following ones, and predict "
        "with the mean of their ranks; with --resume also more seeds than before",
    )
    parser.add_argument(
        "--folds",
        type=folds,
        metavar="N|numerai",
        help="train so many folds that walk forward in time, or one for each of Numerai's windows "
        "of 156 eras, and score them together; each fold's last epoch predicts",
    )
    parser.add_argument(
        "--rolling",
        type=int,
        metavar="ERAS",
        help="with --folds, train only on the last so many eras before each fold's embargo",
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="say what would be trained, and write nothing"
    )
    parser.add_argument("--quiet", action="store_true", help="no progress: for batch jobs")
    parser.set_defaults(resume_hint="run the same command with --resume")


def _add_runs(commands: Any) -> None:
    parser = add_command(
        commands,
        "runs",
        "list and compare runs, the best first",
        "memmap-train runs runs/",
    )
    parser.add_argument(
        "directories",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="a run, a folder of runs, or a sweep",
    )
    parser.add_argument(
        "--by",
        metavar="SCORE",
        help="rank by this column of history.csv (default: the score that the runs monitor)",
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _add_predict(commands: Any) -> None:
    parser = add_command(
        commands,
        "predict",
        "predict every row of a dataset with a run's model, or with several runs' models together; "
        "with those of a run of folds out of fold",
        "memmap-train predict runs/first runs/second data/live --out predictions.csv",
    )
    parser.add_argument(
        "runs", nargs="+", metavar="RUN", help="a run's folder; of several, the mean is written"
    )
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument(
        "--out",
        required=True,
        metavar="FILE",
        help="FILE.csv or FILE.parquet; a device, a pipe or /dev/stdout gets CSV",
    )
    parser.add_argument(
        "--era", action="store_true", help="write the era as a column between id and prediction"
    )
    parser.add_argument(
        "--raw", action="store_true", help="the model's own output, not ranks per era in (0, 1)"
    )
    add_neutralization(parser)


def add_neutralization(parser: argparse.ArgumentParser) -> None:
    """Add the options of predictions that are made neutral to features."""
    parser.add_argument(
        "--neutralize",
        metavar="SET",
        help="subtract what the features of this set explain in each era, and rank the rest again",
    )
    parser.add_argument(
        "--proportion",
        type=float,
        metavar="P",
        help="with --neutralize, the share that is subtracted, from 0 to 1 (default: 1)",
    )


def _add_evaluate(commands: Any) -> None:
    parser = add_command(
        commands,
        "evaluate",
        "score runs, or files of predictions, on the eras that they weren't trained on: CORR, MMC, "
        "BMC, FNC and exposures",
        "memmap-train evaluate runs/first predictions.csv data/shards --out scores",
    )
    parser.add_argument(
        "models",
        nargs="+",
        metavar="RUN|PREDICTIONS",
        help="a run's folder, or a CSV or parquet file with ids and predictions; others are "
        "compared with the first one",
    )
    parser.add_argument("dataset", metavar="DATASET")
    _add_score_options(parser)
    parser.add_argument(
        "--out", metavar="DIR", help="write era_scores.csv and summary.json into this folder"
    )
    parser.add_argument("--json", action="store_true", help="print as JSON")


def _add_report(commands: Any) -> None:
    parser = add_command(
        commands,
        "report",
        "write one HTML page of the scores of runs, or of files of predictions, with charts, "
        "tables and what was trained on what",
        "memmap-train report runs/first runs/second data/shards --out report.html",
    )
    parser.add_argument(
        "names",
        nargs="+",
        metavar="RUN|PREDICTIONS",
        help="a run's folder, or a CSV or parquet file with ids and predictions; the last name may "
        "be the dataset (default: the one that the runs were trained on)",
    )
    _add_score_options(parser)
    parser.add_argument(
        "--out", dest="out_path", required=True, metavar="FILE", help="the page: FILE.html"
    )
    parser.add_argument(
        "--png", action="store_true", help="write pictures of the main charts beside the page"
    )


def _add_score_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that say what is scored, and against what."""
    parser.add_argument(
        "--target",
        dest="targets",
        action="append",
        metavar="NAME",
        help="repeatable (default: the runs' main targets; without a run the dataset's first)",
    )
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help="what BMC is against (default: the dataset's first that isn't the meta model)",
    )
    parser.add_argument(
        "--meta-model",
        metavar="NAME",
        help="what MMC is against (default: numerai_meta_model, if the dataset has it)",
    )
    parser.add_argument(
        "--neutral-to",
        metavar="SET",
        help="the feature set of FNC and of exposures, or all (default: fncv3_features, if the "
        "dataset has it, else all)",
    )
    parser.add_argument(
        "--eras",
        action="append",
        metavar="ERAS",
        help="score these: a label, a range such as 0575-0800, or all; repeatable (default: all "
        "that a file covers; of a run its validation eras and later ones beyond the embargo)",
    )
