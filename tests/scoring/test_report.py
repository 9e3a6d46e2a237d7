"""The page of an evaluation: its sections, its numbers, its size, and what names may hold."""

import math
import re
import sys
from dataclasses import replace
from html.parser import HTMLParser
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from memmap_train.cli.commands import main
from memmap_train.errors import DependencyError, RunError
from memmap_train.scoring.evaluation import Evaluation
from memmap_train.scoring.model_scores import ModelScores
from memmap_train.scoring.report import write
from memmap_train.scoring.report.markup import number, plain_number
from memmap_train.scoring.report.sections import main_charts
from memmap_train.scoring.report.specification import as_picture
from memmap_train.scoring.report.subject import subject_of
from memmap_train.scoring.report.write import report_path, write_report
from tests.support.errors import refused
from tests.support.evaluations import BENCHMARK, synthetic_evaluation

pytestmark = pytest.mark.skipif(
    find_spec("vl_convert") is None, reason="vl-convert-python isn't installed"
)

SECTIONS = {
    "overview",
    "cumulative",
    "eras",
    "rolling",
    "exposure",
    "correlation",
    "targets",
    "learning",
    "years",
    "training",
    "numbers",
    "definitions",
}
MAX_BYTES = 1_500_000  # of three models over 650 eras


class Tables(HTMLParser):
    """Collects tables as rows of texts, scripts, and the values of attributes by element."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tables: list[list[list[str]]] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self._in_cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._in_cell = True
        elif tag == "tbody":
            self._in_cell = False

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th", "tr", "table"):
            self._in_cell = False

    def handle_data(self, data: str) -> None:
        if self._in_cell:
            self.tables[-1][-1][-1] += data

    def of(self, tag: str, name: str) -> list[str]:
        return [found.get(name) or "" for one, found in self.elements if one == tag]


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    return synthetic_evaluation(n_eras=260)


@pytest.fixture(scope="module")
def page(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(evaluation, path)
    return path.read_text("utf-8")


@pytest.fixture
def no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the library of charts be a few letters, which is quicker."""

    class Library:
        @staticmethod
        def javascript_bundle(snippet: str, vl_version: str) -> str:
            return f"/* {snippet} {vl_version} */"

        @staticmethod
        def vegalite_to_png(spec: Any, vl_version: str, scale: float) -> bytes:
            return b"a picture"

    monkeypatch.setattr(write, "_chart_library", lambda: Library)


def html_of(evaluation: Evaluation, path: Path) -> str:
    write_report(evaluation, path)
    return path.read_text("utf-8")


def renamed(evaluation: Evaluation, name: str) -> Evaluation:
    first, *others = evaluation.models
    features = (name, *first.exposures.feature_names[1:])
    largest = first.exposures.mean_exposure.copy()
    largest[0] = 0.99
    exposures = replace(
        first.exposures,
        feature_names=features,
        mean_exposure=largest,
        max_exposure_feature=np.full(len(first.eras), name),
    )
    first = replace(first, name=name, exposures=exposures, notes=(name,))
    return replace(evaluation, models=(first, *others), notes=(name,))


# -- what the page has ----------------------------------------------------------------------------


def test_the_page_has_all_sections_and_links_to_them(page: str) -> None:
    found = Tables(page)
    assert set(found.of("h2", "id")) == SECTIONS
    links = [link for link in found.of("a", "href") if link != "#overview"]
    assert {link.removeprefix("#") for link in links} | {"overview"} == SECTIONS


def test_the_page_loads_nothing(page: str) -> None:
    found = Tables(page)
    loading = [*found.of("script", "src"), *found.of("img", "src"), *found.of("link", "href")]
    assert {address for address in loading if address} == {"data:,"}
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page.partition("</style>")[0])


def test_every_score_of_every_era_stands_in_a_table(page: str, evaluation: Evaluation) -> None:
    tables = [
        table for table in Tables(page).tables if table[0][-1] == "feature of maximal exposure"
    ]
    assert len(tables) == len(evaluation.all_models)
    for table, model in zip(tables, evaluation.all_models, strict=True):
        names, *rows = table
        assert [row[0] for row in rows] == list(model.eras)
        corr = model.by_target["target"].corr
        assert [row[names.index("CORR")] for row in rows] == [plain_number(x) for x in corr]
        meta = model.by_target["target"].mmc
        assert [row[names.index("MMC")] for row in rows] == [plain_number(x) for x in meta]
        assert [row[-1].strip() for row in rows] == list(model.exposures.max_exposure_feature)


def test_the_headline_numbers_are_those_of_the_evaluation(
    page: str, evaluation: Evaluation
) -> None:
    shown = [table for table in Tables(page).tables if table[0][:2] == ["model", "eras"]]
    assert len(shown) == len(evaluation.targets) + 1  # and the last 200 eras
    for table, target in zip(shown, evaluation.targets, strict=False):
        for row, model in zip(table[1:], evaluation.all_models, strict=True):
            found = model.by_target[target].statistics("corr")
            assert model.name in row[0]
            assert row[1] == f"{found.n_eras:,}"
            assert row[2].split("\xb1")[0].strip() == number(found.mean)
            assert number(found.standard_error) in row[2]
            assert row[4] == number(found.sharpe, 2)
    last = evaluation.models[0].by_target["target"].statistics("bmc", slice(-200, None))
    assert number(last.mean) in " ".join(shown[-1][1])


def test_differences_say_how_certain_they_are(page: str, evaluation: Evaluation) -> None:
    (table,) = (t for t in Tables(page).tables if t[0][1:2] and t[0][1].startswith("above"))
    found = evaluation.difference("second", BENCHMARK)
    (row,) = (row for row in table if "second" in row[0])
    assert number(found.mean) in row[2]
    assert number(found.standard_error) in row[2]


def test_the_numbers_of_other_charts_stand_below_them(page: str, evaluation: Evaluation) -> None:
    tables = {table[0][0]: table for table in Tables(page).tables}
    largest = tables["feature"]
    assert len(largest) == 21
    neutral = tables["proportion"]
    assert [row[0] for row in neutral[1:]] == ["0%", "25%", "50%", "75%", "100%"]
    values = evaluation.models[0].by_target["target"].neutralized_corr
    assert values is not None
    assert [row[1] for row in neutral[1:]] == [
        plain_number(x, 6) for x in np.nanmean(values, axis=0)
    ]
    assert tables["target"][2][1] == plain_number(
        evaluation.models[0].by_target[evaluation.targets[1]].statistics("corr").mean, 6
    )


def test_what_was_trained_on_what_is_said(page: str, evaluation: Evaluation) -> None:
    for model in evaluation.models:
        if model.provenance is None:
            continue
        for fold in model.provenance.folds:
            assert f"{fold.train[0]} to {fold.train[-1]}" in page
        for key in ("seed", "dataset_digest"):
            assert str(model.provenance.config[key]) in page
    assert evaluation.dataset_digest in page


def test_three_models_over_650_eras_are_a_small_page(tmp_path: Path) -> None:
    full = synthetic_evaluation(n_eras=650, n_features=400, targets=("target",))
    largest = np.full(650, "feature_unadaptable_sudorific_bargeman")  # a long name of Numerai's
    features = [f"feature_with_a_name_of_{i:04}_as_long_as_that" for i in range(3555)]
    models = tuple(
        replace(
            model,
            exposures=replace(model.exposures, max_exposure_feature=largest),
            provenance=model.provenance
            and replace(model.provenance, config={**model.provenance.config, "features": features}),
        )
        for model in full.models
    )
    write_report(replace(full, models=models), tmp_path / "report.html")
    assert 900_000 < (tmp_path / "report.html").stat().st_size <= MAX_BYTES


@pytest.mark.parametrize(
    "name",
    ["</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "a\"b'&amp;\udcff"],
)
@pytest.mark.usefixtures("no_library")
def test_names_of_users_are_text(name: str, tmp_path: Path) -> None:
    plain = Tables(html_of(synthetic_evaluation(n_eras=3), tmp_path / "plain.html"))
    found = Tables(html_of(renamed(synthetic_evaluation(n_eras=3), name), tmp_path / "named.html"))
    assert [tag for tag, _ in found.elements].count("script") == 3
    assert [tag for tag, _ in found.elements].count("img") == 0
    assert [tag for tag, _ in found.elements] != []
    assert len(found.tables) == len(plain.tables)
    assert not any(key.startswith("on") for _, values in found.elements for key in values)


# -- what may be missing --------------------------------------------------------------------------


def without_scores(model: ModelScores) -> ModelScores:
    of_target = {
        name: replace(scores, corr=np.full_like(scores.corr, math.nan))
        for name, scores in model.by_target.items()
    }
    return replace(model, by_target=of_target)


@pytest.mark.parametrize(
    "options",
    [
        {"n_eras": 1},
        {"n_eras": 2, "with_benchmark": False},
        {"with_benchmark": False},
        {"with_details": False},
        {"n_meta_eras": 0},
        {"names": ["alone"], "kinds": ["predictions"], "targets": ["target"]},
        {"names": [f"model {i}" for i in range(20)], "kinds": ["predictions"] * 20, "n_eras": 10},
    ],
    ids=str,
)
@pytest.mark.usefixtures("no_library")
def test_a_page_can_be_made_of_little(options: dict[str, Any], tmp_path: Path) -> None:
    evaluation = synthetic_evaluation(**options)
    page = html_of(evaluation, tmp_path / "report.html")
    assert all(model.name in page for model in evaluation.models)
    assert "nan" not in re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL).lower()
    assert ("There is no BMC" in page) == (options.get("with_benchmark") is False)


@pytest.mark.usefixtures("no_library")
def test_a_model_without_any_score_is_shown_too(tmp_path: Path) -> None:
    evaluation = synthetic_evaluation(n_eras=5)
    first, *others = evaluation.models
    page = html_of(
        replace(evaluation, models=(without_scores(first), *others)), tmp_path / "report.html"
    )
    assert "first" in page


def test_pictures_of_the_main_charts_are_written_beside_the_page(tmp_path: Path) -> None:
    written = write_report(synthetic_evaluation(n_eras=60), tmp_path / "report.html", png=True)
    names = {path.name for path in written.pictures}
    assert {"report-sum-corr.png", "report-drawdown.png", "report-proportions.png"} <= names
    assert {path.name for path in tmp_path.iterdir()} == names | {"report.html"}
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in written.pictures)


def test_a_picture_has_no_colour_that_only_a_page_knows() -> None:
    subject = subject_of(synthetic_evaluation(n_eras=60))
    for chart in main_charts(subject):
        spec = as_picture(chart, [], subject.frame, ["a"], write._COLOURS)
        assert "var(--" not in str(spec)


# -- where it is written --------------------------------------------------------------------------


@pytest.mark.usefixtures("no_library")
def test_a_page_is_replaced_by_a_page(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    assert html_of(synthetic_evaluation(n_eras=3), path)
    assert html_of(synthetic_evaluation(n_eras=4), path).count("0578") > 0


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("folder.html", "it is a folder"),
        ("report.txt", "ends in .html"),
        ("gone/report.html", "there is no folder"),
        ("page.html", "is no report"),
        ("dataset/report.html", "lies in the dataset"),
    ],
)
def test_other_places_are_refused(
    name: str, said: str, tmp_path: Path, toys: dict[str, Path]
) -> None:
    (tmp_path / "folder.html").mkdir()
    (tmp_path / "page.html").write_text("<html>mine</html>")
    (tmp_path / "dataset").symlink_to(toys["int8"])
    with refused(RunError, said):
        report_path(tmp_path / name)
    assert (tmp_path / "page.html").read_text() == "<html>mine</html>"


def test_a_failed_write_leaves_the_old_page(
    no_library: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    before = html_of(synthetic_evaluation(n_eras=3), path)

    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with refused(RunError, "the disk is full"):
        write_report(synthetic_evaluation(n_eras=4), path)
    assert path.read_text("utf-8") == before
    assert [file.name for file in tmp_path.iterdir()] == ["report.html"]


def test_a_failed_write_leaves_the_old_pictures(
    no_library: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "report.html"
    write_report(synthetic_evaluation(n_eras=3), path, png=True)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    assert len(before) > 2
    write, written = Path.write_bytes, list[Path]()

    def fail_later(self: Path, content: bytes) -> int:
        if len(written) == 2:
            raise OSError(28, "No space left on device")
        written.append(self)
        return write(self, content + b" ")

    monkeypatch.setattr(Path, "write_bytes", fail_later)
    with refused(RunError, "the disk is full; make space there, or name another"):
        write_report(synthetic_evaluation(n_eras=4), path, png=True)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


def test_without_the_extra_the_command_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "vl_convert", None)
    with refused(DependencyError, "pip install 'memmap-train[report]'"):
        write_report(synthetic_evaluation(n_eras=3), tmp_path / "report.html")
    assert main(["report", "runs/none", "--out", str(tmp_path / "report.html")]) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "pip install 'memmap-train[report]'" in error
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["", "dataset"])
def test_what_cant_be_evaluated_is_refused_in_one_line(
    option: str, tmp_path: Path, toys: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(toys["int8"])] if option else [str(tmp_path / "none.csv")]
    assert main(["report", *names, "--out", str(tmp_path / "report.html")]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
