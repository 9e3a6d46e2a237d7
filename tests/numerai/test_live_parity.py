"""A live file through `convert` and `predict`, and through an upload, gets the same predictions."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import memmap_train as mt
from memmap_train.errors import RunError
from memmap_train.numerai.export import live_rows
from memmap_train.numerai.export.export import _description
from memmap_train.numerai.export.live_rows import make_live
from memmap_train.numerai.export.model_upload.prediction import make_predict
from memmap_train.runs.folds.fold import Fold
from memmap_train.runs.record import fold_record
from memmap_train.runs.run import read_run
from memmap_train.runs.run_folder import begin_run
from memmap_train.training.prediction.last_model import last_models
from tests.support.errors import refused
from tests.support.live_parity import assert_equal_predictions, assert_parity, with_dataset
from tests.support.run_records import run_record

SYLLABLES = ["ab", "cor", "den", "est", "fi", "gal", "hyp", "ile", "mor", "nu", "ous", "pre", "tis"]
N_ROWS = 40


def made_names(n_names: int, seed: int = 0) -> list[str]:
    """Return names as Numerai's features have them: three made words, in alphabetical order."""
    source, found = random.Random(seed), set[str]()
    while len(found) < n_names:
        words = ["".join(source.choices(SYLLABLES, k=source.randint(2, 5))) for _ in range(3)]
        found.add("feature_" + "_".join(words))
    return sorted(found)


def write_live(
    path: Path, names: list[str], kind: str, *, has_missing: bool, order: list[str], seed: int
) -> None:
    """Write a live file: one era "X", features of a kind, an empty target, ids as the index."""
    generator = np.random.default_rng([seed])
    codes = generator.integers(0, 5, (N_ROWS, len(names))).astype(np.int8)
    is_missing = generator.random(codes.shape) < (0.2 if has_missing else 0)
    values = codes if kind == "int8" else (codes / 4).astype(kind)
    columns: dict[str, Any] = {
        name: pa.array(values[:, place], mask=is_missing[:, place])
        for place, name in enumerate(names)
    }
    columns |= {
        "era": pa.array(["X"] * N_ROWS),
        "data_type": pa.array(["live"] * N_ROWS),
        "target": pa.nulls(N_ROWS, pa.float32()),
    }
    ids = pa.array([f"n{number:015x}" for number in range(N_ROWS)])
    table = pa.table({name: columns[name] for name in order} | {"id": ids})
    index = pa.Table.from_pandas(pd.DataFrame({"era": ["X"]}, pd.Index(["n0"], name="id")))
    pq.write_table(table.replace_schema_metadata(index.schema.metadata), path)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Path]:
    return lambda: tmp_path_factory.mktemp("parity")


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    phases=[Phase.explicit, Phase.generate],  # a smaller example is slow to find
)
@given(data=st.data())
def test_live_rows_of_any_kind_get_what_convert_and_predict_give(
    folders: Callable[[], Path], data: st.DataObject
) -> None:
    folder, draw = folders(), data.draw
    names = made_names(draw(st.integers(15, 24), "features"), draw(st.integers(0, 99), "names"))
    sets = {"small": names[1::3], "medium": names[::2]}
    (folder / "features.json").write_text(json.dumps({"feature_sets": sets, "targets": ["target"]}))
    kind = draw(st.sampled_from(["int8", "float32", "float64"]), "kind")
    fill = draw(st.sampled_from([None, 0.25]), "fill_missing")
    order = draw(st.permutations(["era", "data_type", "target", *names]), "order")
    has_missing, seed = draw(st.booleans(), "missing"), draw(st.integers(0, 99), "seed")
    live_file = folder / "live.parquet"
    write_live(live_file, names, kind, has_missing=has_missing, order=order, seed=seed)
    how: dict[str, Any] = {}
    if fill is None and draw(st.booleans(), "neutral"):
        how = {"neutralize": draw(st.sampled_from(["small", "medium"])), "proportion": 0.7}
    may_be_codes = fill is None and kind == "int8"
    store = draw(st.sampled_from(["int8", "float32"] if may_be_codes else ["float32"]), "store")
    live = mt.convert(
        live_file,
        folder / "live",
        dtype=store,
        missing=None if fill is None else "nan",
        features_json=folder / "features.json",
        workers=1,
    ).dataset.path
    runs = [
        with_dataset(
            folder / f"run{number}",
            draw(st.sampled_from([sets["small"], sets["medium"], names, names[::-1]])),
            live,
            fill_missing=fill,
            model=draw(st.sampled_from(["mlp", "tabm", "autoencoder"])),
        )
        for number in range(draw(st.integers(1, 3), "runs"))
    ]
    neutral = None
    if how:
        neutral = {"features": sets[how["neutralize"]], "proportion": how["proportion"]}
    predict = make_predict(_description([last_models(read_run(run)) for run in runs], neutral))
    raw = assert_equal_predictions(predict, runs, pd.read_parquet(live_file), live, **how)
    assert len(np.unique(raw)) > N_ROWS // 2


@pytest.mark.parametrize("has_folds", [False, True])
def test_an_upload_holds_all_seeds_of_a_run_and_weighs_runs_alike(
    tmp_path: Path, has_folds: bool
) -> None:
    """With folds each seed's last one predicts; the others have other models."""
    names = made_names(8)
    order, live_file = ["era", "data_type", "target", *names], tmp_path / "live.parquet"
    write_live(live_file, names, "int8", has_missing=False, order=order, seed=1)
    live = mt.convert(live_file, tmp_path / "live", workers=1).dataset.path
    folds = [Fold(("1",), ("3",), ("2",), 1), Fold(("1", "2", "3"), ("5",), ("4",), 1)]
    eras: dict[str, Any] = {"folds": [fold_record(fold) for fold in folds]} if has_folds else {}
    seeds = begin_run(tmp_path / "run", run_record(features=names, seeds=[0, 1, 2], **eras))
    scores = dict.fromkeys(("corr_mean", "corr_std", "corr_sharpe"), 0.1)
    for number, path in enumerate(seeds.part_paths):
        others = names[number:]  # so that their models differ
        part = begin_run(path, run_record(features=others, seed=number, **eras))
        for fold, of_fold in enumerate(part.part_paths or (path,)):
            with_dataset(of_fold, others[: len(others) - 1 + fold], live, seed=number)
        part.finish(scores)
    with refused(RunError, "not all of its 3 seeds are trained"):
        last_models(seeds)
    seeds.finish(scores)
    other = with_dataset(tmp_path / "other", names[::2], live)
    frame = pd.read_parquet(live_file)
    for runs, n_models in (([seeds.path], 3), ([other, seeds.path], 4)):
        of_runs = [last_models(read_run(run)) for run in runs]
        predict: Any = make_predict(_description(of_runs, None))
        assert predict.raw_outputs(frame).shape == (len(frame), n_models)
        expected, found = mt.predict(runs, live).values, predict(frame)["prediction"].to_numpy()
        np.testing.assert_allclose(found, expected, rtol=0, atol=3 / len(frame))
        assert np.count_nonzero(np.abs(found - expected) > 1e-9) <= len(frame) // 20
        alone = mt.predict(runs[0], live).values
        assert (np.abs(expected - alone) > 1e-9).any() == (len(runs) > 1)


@pytest.mark.parametrize("dtype", ["int8", "float32"])
def test_parity_holds_at_the_width_of_numerais_data(
    dtype: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = made_names(3555)
    monkeypatch.setattr(live_rows, "MADE_ROWS", 600)
    live_file = tmp_path / "live.parquet"
    make_live(live_file, names)
    live = mt.convert(live_file, tmp_path / "live", dtype=dtype, workers=1).dataset.path
    run = with_dataset(tmp_path / "run", names[::-1], live)
    report = mt.export(run, tmp_path / "m.pkl", live=live_file)
    assert (report.n_rows, report.n_features) == (600, 3555)
    raw = assert_parity(tmp_path / "m.pkl", [run], live_file, live)
    assert len(np.unique(raw)) > 590


def test_a_fill_value_that_training_never_used_is_not_used_by_the_upload(tmp_path: Path) -> None:
    """Where conversion has filled missing features already, `fill_missing` changes nothing."""
    names = made_names(8)
    live_file = tmp_path / "live.parquet"
    write_live(live_file, names, "int8", has_missing=True, order=["era", *names], seed=1)
    live = mt.convert(live_file, tmp_path / "live", dtype="int8", workers=1).dataset.path
    run = with_dataset(tmp_path / "run", names, live, fill_missing=0.25)
    mt.export(run, tmp_path / "m.pkl", live=live_file)
    assert_parity(tmp_path / "m.pkl", [run], live_file, live)
