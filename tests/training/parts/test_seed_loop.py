"""Several seeds trained one after another: one model in a folder, which is resumed and may grow."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import rankdata

import memmap_train as mt
from memmap_train.cli.commands import main
from memmap_train.errors import ConfigError, MemmapTrainError, RunError
from memmap_train.runs.reports.recorded_report import recorded_seeds_report
from memmap_train.runs.reports.report import FoldsReport, TrainReport
from memmap_train.runs.reports.reporter import Reporter
from memmap_train.runs.reports.result_text import result_text
from memmap_train.runs.reports.seeds_report import SeedsReport
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.runs.scores.metrics import numerai_corr
from memmap_train.runs.scores.summary import summary
from memmap_train.training.baseline import add_baseline
from memmap_train.training.parts.fold_loop import train_folds
from memmap_train.training.parts.joint_scores import joint_scores
from memmap_train.training.parts.seed_loop import dry_run_seeds, train_seeds
from memmap_train.training.train import train_run
from tests.support.errors import refused
from tests.support.files import contents
from tests.support.random_models import make_run
from tests.support.run_records import run_record
from tests.support.training_data import ROWS_PER_ERA, Script, all_rows, small_config
from tests.support.training_runs import interrupt, read_csv, results

pytest_plugins = ["tests.support.training_fixtures"]

CONFIG = small_config(epochs=1, model="linear")
FOLDS = small_config(epochs=1, model="linear", validation_eras=None)
N_STEPS = 15


@pytest.fixture(scope="module")
def finished(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SeedsReport]:
    """Return a run of two seeds that nothing interrupted, and its report."""
    path = tmp_path_factory.mktemp("finished") / "run"
    return path, train_seeds(sample, path, CONFIG, seeds=2)


@pytest.fixture(scope="module")
def with_folds(sample: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, SeedsReport]:
    """Return a run of two seeds with two folds each, and its report."""
    path = tmp_path_factory.mktemp("finished") / "folds"
    return path, train_seeds(sample, path, FOLDS, seeds=2, folds=2)


@pytest.fixture
def copy(finished: tuple[Path, SeedsReport], tmp_path: Path) -> Path:
    """Return a copy of the finished run."""
    return Path(shutil.copytree(finished[0], tmp_path / "run"))


def all_results(path: Path) -> dict[str, Any]:
    """Return everything that equal runs of seeds have in common, to the last bit."""
    of_seeds = {seed.name: results(seed) for seed in sorted(path.glob("seed-*"))}
    state = json.loads((path / "state.json").read_text())
    del state["run_dir"], state["chart_path"]
    return {"scores": (path / "era_scores.csv").read_bytes(), "state": state, **of_seeds}


def config_of(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((path / "config.json").read_text())
    return config


# -- what comes of it -----------------------------------------------------------------------------


def test_each_seed_is_the_run_that_one_would_train_by_itself(
    finished: tuple[Path, SeedsReport], sample: Path, tmp_path: Path
) -> None:
    path, report = finished
    alone = train_run(sample, tmp_path / "alone", small_config(epochs=1, model="linear", seed=1))
    assert results(path / "seed-02") == results(tmp_path / "alone")
    assert results(path / "seed-01")["model"] != results(path / "seed-02")["model"]
    assert report.seeds[1].corr == alone.corr
    first, second = (config_of(path / name) for name in ("seed-01", "seed-02"))
    assert {key for key in first if first[key] != second[key]} == {"seed"}
    assert (first["seed"], second["seed"], config_of(path)["seeds"]) == (0, 1, [0, 1])


def test_the_joint_scores_are_those_of_the_mean_of_the_ranks(
    finished: tuple[Path, SeedsReport], sample: Path
) -> None:
    path, report = finished
    rows = read_csv(path / "era_scores.csv")
    dataset = mt.open_dataset(sample)
    chosen = dataset.select([row["era"] for row in rows])
    together = mt.predict(path, chosen)
    own = [mt.predict(path / f"seed-0{number}", chosen, raw=True).values for number in (1, 2)]
    expected = []
    for i, era in enumerate(chosen.eras):
        of_era = slice(i * ROWS_PER_ERA, (i + 1) * ROWS_PER_ERA)
        ranks = sum((rankdata(values[of_era]) - 0.5) / ROWS_PER_ERA for values in own) / 2
        np.testing.assert_array_equal(together.values[of_era], ranks)
        target = np.asarray(dataset[era].targets)[:, dataset.target_names.index("target")]
        expected.append(numerai_corr(ranks, target))
    assert [float(row["numerai_corr"]) for row in rows] == expected
    assert report.corr == summary(expected)
    assert (together.n_seeds, together.n_folds) == (2, 0)
    means = [seed.corr.mean for seed in report.seeds.values()]
    state = json.loads((path / "state.json").read_text())
    assert [seed["corr_mean"] for seed in state["seeds"]] == means
    assert state["seed_corr_mean"] == report.seed_mean == np.mean(means)
    assert state["seed_corr_standard_error"] == pytest.approx(abs(means[0] - means[1]) / 2)


def test_every_run_weighs_the_same_whatever_its_number_of_seeds(
    finished: tuple[Path, SeedsReport], live: Path
) -> None:
    path = finished[0]
    one, seeds = mt.predict(path / "seed-01", live), mt.predict(path, live)
    found = mt.predict([path / "seed-01", path], live)
    ranked = (rankdata(seeds.values) - 0.5) / ROWS_PER_ERA
    np.testing.assert_array_equal(found.values, (one.values + ranked) / 2)
    listed = mt.predict([path / "seed-01", path / "seed-02"], live)
    np.testing.assert_array_equal(listed.values, seeds.values)
    raw = mt.predict([path / "seed-01", path], live, raw=True).values
    outputs = [mt.predict(path / f"seed-0{n}", live, raw=True).values for n in (1, 2)]
    np.testing.assert_allclose(raw, 0.75 * outputs[0] + 0.25 * outputs[1], rtol=1e-6)


def test_seeds_with_folds_are_predicted_out_of_fold(
    with_folds: tuple[Path, SeedsReport], sample: Path, tmp_path: Path
) -> None:
    path, report = with_folds
    assert all(isinstance(seed, FoldsReport) for seed in report.seeds.values())
    train_folds(sample, tmp_path / "alone", small_config(**{**FOLDS.to_dict(), "seed": 1}), folds=2)
    for fold in ("fold-01", "fold-02"):
        assert results(path / "seed-02" / fold) == results(tmp_path / "alone" / fold)
    found = mt.predict(path, sample)
    own = [mt.predict(path / f"seed-0{number}", sample).values for number in (1, 2)]
    np.testing.assert_array_equal(found.values, (own[0] + own[1]) / 2)
    assert (found.n_folds, found.n_seeds, len(found.left_out)) == (4, 2, 14)
    assert report.n_eras == len(found.dataset.eras) == 10
    rows = read_csv(path / "era_scores.csv")
    assert [row["era"] for row in rows] == list(found.dataset.eras)
    (model,) = mt.evaluate(path, sample).models
    assert model.kind == "seeds"
    corrs = [float(row["numerai_corr"]) for row in rows]
    np.testing.assert_array_equal(model.by_target["target"].corr, corrs)
    assert model.provenance is not None
    assert (len(model.provenance.folds), len(model.provenance.histories)) == (2, 4)


def test_a_run_of_seeds_opened_later_is_the_same(
    with_folds: tuple[Path, SeedsReport], finished: tuple[Path, SeedsReport]
) -> None:
    for path, report in (finished, with_folds):
        run = mt.open_run(path)
        assert isinstance(run.result, SeedsReport)
        assert run.result.corr == report.corr
        assert run.result.seed_corrs == report.seed_corrs
        assert [seed.config.seed for seed in run.seeds] == [0, 1]
        assert [len(seed.folds) for seed in run.seeds] == [2 * (run.path.name == "folds")] * 2
        assert (run.folds, len(run.era_scores)) == ((), report.n_eras)
        with refused(RunError, "2 seeds", "run.seeds[0].model"):
            run.model()


def test_all_targets_are_scored_together_and_the_further_score_that_is_monitored(
    sample: Path, tmp_path: Path
) -> None:
    """The seeds have random weights, and two outputs."""
    whole = mt.open_dataset(sample)
    dataset, features = whole.select(whole.eras[3:6]), list(whole.feature_names)
    targets = ["target", next(name for name in whole.target_names if name.endswith("60"))]
    record: dict[str, Any] = {"features": features, "targets": targets, "seeds": [0, 1]}
    record |= {"monitor": "val_fnc_mean", "monitored_against": "all", "dataset": str(sample)}
    run = begin_run(tmp_path / "run", run_record(**record))
    models = [
        make_run(path, features[number:], seed=number) for number, path in enumerate(run.part_paths)
    ]
    scores = joint_scores(run, dataset, Reporter())
    assert scores.corr.shape == (3, 2)
    for row, era in enumerate(dataset.eras):
        x, _ = all_rows(dataset.select([era]))
        outputs = [model(x[:, number:]).numpy() for number, model in enumerate(models)]
        for column, target in enumerate(targets):
            ranks = sum((rankdata(of_seed[:, column]) - 0.5) / ROWS_PER_ERA for of_seed in outputs)
            _, y = all_rows(dataset.select([era]), target)
            assert scores.corr[row, column] == pytest.approx(numerai_corr(ranks / 2, y), abs=1e-6)
    run.finish(dict.fromkeys(("corr_mean", "corr_std", "corr_sharpe"), 0.1))
    (model,) = mt.evaluate(mt.predict(run.path, dataset), dataset, neutral_to="all").models
    fnc = model.by_target["target"].fnc
    np.testing.assert_allclose(scores.further["fnc"][:, 0], fnc, atol=1e-9)


def test_all_seeds_share_one_baseline(
    with_folds: tuple[Path, SeedsReport],
    finished: tuple[Path, SeedsReport],
    sample: Path,
    tmp_path: Path,
) -> None:
    """A ridge regression on the same eras, in the folder of the run alone."""
    for number, (path, report) in enumerate((finished, with_folds)):
        run = read_run(shutil.copytree(path, tmp_path / str(number) / "run"))
        found = add_baseline(run, sample, report, Reporter())
        baseline = read_run(run.baseline_path)
        assert (baseline.seeds, len(baseline.folds)) == ((), len(run.folds))
        assert [file.parent for file in run.path.rglob("baseline")] == [run.path]
        rows = read_csv(run.baseline_path / "era_scores.csv")
        assert [row["era"] for row in rows] == list(run.record.validation_eras)
        assert found.baseline == summary([float(row["numerai_corr"]) for row in rows])
        assert recorded_seeds_report(run).baseline == found.baseline
        assert f"baseline    numerai_corr of a ridge regression {found.baseline.mean:.4f}" in (
            result_text(found)
        )
    with refused(ConfigError, "'ridge' has no seed"):
        train_seeds(sample, tmp_path / "ridge", small_config(model="ridge"), seeds=2)


# -- stopped and resumed --------------------------------------------------------------------------


def test_interrupted_seeds_end_like_those_that_werent(
    finished: tuple[Path, SeedsReport], sample: Path, tmp_path: Path
) -> None:
    """Stopped inside the second seed, and again while all are scored together."""
    run, script = tmp_path / "run", Script(f"step {N_STEPS + 5}", interrupt)
    with pytest.raises(KeyboardInterrupt):
        train_seeds(sample, run, CONFIG, seeds=2, report=script)
    with refused(RunError, "a run of seeds is there already"):
        train_seeds(sample, run, CONFIG, seeds=2)
    scoring = Script("validation 2", interrupt)  # the first is that of the second seed
    with pytest.raises(KeyboardInterrupt):
        train_seeds(sample, run, None, seeds=2, resume=True, report=scoring)
    assert script.calls.count("step") + scoring.calls.count("step") == 2 * N_STEPS
    with refused(RunError, "not all of its 2 seeds", f"--run {run} --seeds 2 --resume"):
        mt.predict(run, sample)
    last = Script()
    train_seeds(sample, run, None, seeds=2, resume=True, report=last)
    assert last.calls.count("step") == 0
    assert all_results(run) == all_results(finished[0])


def test_finished_seeds_end_well_at_once(
    finished: tuple[Path, SeedsReport], sample: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, report = finished
    before = {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")}
    script = Script()
    again = train_seeds(sample, path, CONFIG, seeds=2, resume=True, report=script)
    assert (again.already_finished, again.corr, script.calls) == (True, report.corr, [])
    assert {entry: entry.stat().st_mtime_ns for entry in path.rglob("*")} == before


@pytest.mark.parametrize("lost", ["era_scores.csv", "seed-01/model.keras"])
def test_what_is_lost_of_finished_seeds_is_made_again(
    finished: tuple[Path, SeedsReport], sample: Path, copy: Path, lost: str
) -> None:
    (copy / lost).unlink()
    report = train_seeds(sample, copy, None, seeds=2, resume=True)
    assert not report.already_finished
    assert all_results(copy) == all_results(finished[0])


def test_a_run_may_be_given_more_seeds_and_more_epochs(
    finished: tuple[Path, SeedsReport], sample: Path, copy: Path
) -> None:
    before = contents(copy / "seed-01")
    grown = train_seeds(sample, copy, None, seeds=3, resume=True)
    assert contents(copy / "seed-01") == before
    assert (config_of(copy)["seeds"], list(grown.seeds)) == ([0, 1, 2], [0, 1, 2])
    assert grown.seed_corrs[:2] == finished[1].seed_corrs
    assert grown.corr != finished[1].corr
    with refused(RunError, "--seeds: 3 in the run, 2 now (only more)"):
        train_seeds(sample, copy, None, seeds=2, resume=True)
    longer = train_seeds(sample, copy, small_config(epochs=2, model="linear"), seeds=3, resume=True)
    epochs = [seed.n_epochs for seed in longer.seeds.values() if isinstance(seed, TrainReport)]
    assert epochs == [2, 2, 2]


def test_an_update_moves_no_seed(growing: Callable[..., Path], tmp_path: Path) -> None:
    """Eras that come between two seeds belong to no part of the run."""
    dataset, run = growing(20), tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train_seeds(dataset, run, CONFIG, seeds=2, report=Script("started 2", interrupt))
    growing(24)
    train_seeds(dataset, run, None, seeds=2, resume=True)
    first, second = (config_of(run / name) for name in ("seed-01", "seed-02"))
    for key in ("train_eras", "embargoed_eras", "validation_eras"):
        assert first[key] == second[key]
    assert [row["era"] for row in read_csv(run / "era_scores.csv")] == first["validation_eras"]


# -- refused --------------------------------------------------------------------------------------


def error_of(command: Any, *arguments: Any, **options: Any) -> str:
    with pytest.raises(MemmapTrainError) as caught:
        command(*arguments, **options)
    return str(caught.value)


def test_a_dry_run_plans_every_seed_and_refuses_what_the_command_refuses(
    finished: tuple[Path, SeedsReport], sample: Path, tmp_path: Path
) -> None:
    path, before = finished[0], contents(finished[0])
    plans, is_finished = dry_run_seeds(
        sample, path, None, seeds=3, resume=True, measures_cost=False
    )
    assert not is_finished
    assert [plan.already_finished for (plan,) in plans.values()] == [True, True, False]
    assert dry_run_seeds(sample, path, None, seeds=2, resume=True)[1]
    new, _ = dry_run_seeds(sample, tmp_path / "new", FOLDS, seeds=2, folds=2, measures_cost=False)
    assert [[plan.n_train_eras for plan in plans] for plans in new.values()] == [[6, 11]] * 2
    for config, options, said in (
        (None, {"seeds": 2}, "a finished run of seeds is there already"),
        (None, {"seeds": 1, "resume": True}, "expected 2 or more, found 1"),
        (None, {"seeds": 10**9, "resume": True}, "expected a whole number, 1000 at most, found 10"),
        (CONFIG, {"seeds": 2, "folds": 2, "resume": True}, "--seeds 2 --resume`"),
        (small_config(epochs=1), {"seeds": 2, "resume": True}, "model: "),
        (small_config(seed=2**32 - 1), {"seeds": 2, "resume": True}, "seed: "),
    ):
        commands = (train_seeds, dry_run_seeds)
        found = [error_of(command, sample, path, config, **options) for command in commands]
        assert found[0] == found[1]
        assert said in found[0]
    assert contents(path) == before


def test_a_run_of_another_kind_is_refused_naming_the_command_to_type(
    finished: tuple[Path, SeedsReport], with_folds: tuple[Path, SeedsReport], sample: Path
) -> None:
    """Of the same dataset and folder: with what the run was begun."""
    of_seeds, of_both = (found[0] for found in (finished, with_folds))
    with refused(RunError, "a run of 2 seeds: ", f"--run {of_seeds} --seeds 2 --resume`"):
        train_run(sample, of_seeds, None, resume=True)
    with refused(RunError, "2 seeds with 2 folds", "--seeds 2 --folds 2 --resume`"):
        train_folds(sample, of_both, None, folds=2, resume=True)
    with refused(RunError, "a run without seeds", f"--run {of_seeds / 'seed-01'} --resume`"):
        train_seeds(sample, of_seeds / "seed-01", None, seeds=2, resume=True)
    with refused(ConfigError, "seeds: expected a whole number, 1000 at most, found 2.5"):
        mt.train(sample, of_seeds, seeds=2.5)  # type: ignore[arg-type]


# -- on the command line --------------------------------------------------------------------------


def test_seeds_on_the_command_line(
    finished: tuple[Path, SeedsReport],
    sample: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, report = finished
    monkeypatch.setattr("memmap_train.training.trained_run.make_report", lambda *_, **__: None)
    command = ["train", str(sample), "--run", str(path), "--resume", "--seeds"]
    assert main([*command, "2"]) == 0
    printed = capsys.readouterr()
    assert "already finished; nothing to do" in printed.out
    assert f"their mean  numerai_corr {report.seed_mean:.4f} ± " in printed.out
    assert f"together    numerai_corr {report.corr.mean:.4f} on average" in printed.out
    assert "seed 2 of 2" not in printed.err
    assert main([*command, "4", "--dry-run"]) == 0
    printed = capsys.readouterr()
    assert "seed 2 of 4: seed = 1, already finished: like the first" in printed.out
    assert printed.out.count("shuffling") == 1
    for number in ("0", "1"):
        assert main([*command, number]) == 1
        assert "expected 2 or more" in capsys.readouterr().err
    out = tmp_path / "out.csv"
    assert main(["predict", str(path), str(sample), "--out", str(out)]) == 0
    assert "1,920 predictions by the models of 2 seeds" in capsys.readouterr().out
