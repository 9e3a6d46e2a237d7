import math
import sys
from pathlib import Path

import pytest

from memmap_train.runs.reports.chart import draw_run, draw_scores
from memmap_train.runs.run import Run
from memmap_train.runs.run_folder import begin_run
from tests.support.run_records import run_record

pytestmark = pytest.mark.usefixtures("drawn_pictures")

ERAS = [f"{number:04}" for number in range(1, 41)]
SCORES = [0.03 * math.sin(number) + 0.02 for number in range(40)]


SCORE, BEST, FOLD = "#0b69a3", "#de911d", "#9446ed"
EXPECTED_BARS = 0.05  # of the pixels of the lower third


def share_of_colour(path: Path, colour: str) -> float:
    """Return the share of pixels with this colour in the lower third of a picture."""
    image = pytest.importorskip("matplotlib.image").imread(path)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    lower = (image[len(image) * 2 // 3 :, :, :3] * 255).round()
    return float((lower == wanted).all(axis=-1).mean())


def has_colour(path: Path, colour: str) -> bool:
    """Return whether any pixel of a picture has this colour."""
    image = pytest.importorskip("matplotlib.image").imread(path)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(((image[..., :3] * 255).round() == wanted).all(axis=-1).any())


def test_the_picture_is_a_png_of_a_reasonable_size(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "validation.png"
    assert draw_scores(path, ERAS, SCORES, title="run: target") == path
    header = path.read_bytes()[:24]
    assert header[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = (int.from_bytes(header[i : i + 4], "big") for i in (16, 20))
    assert (width, height) == (1440, 810)
    assert [entry.name for entry in tmp_path.iterdir()] == ["validation.png"]


def test_the_best_possible_score_is_drawn_where_it_is_known(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    without, with_best = tmp_path / "without.png", tmp_path / "with.png"
    draw_scores(without, ERAS, SCORES, title="run")
    draw_scores(with_best, ERAS, SCORES, title="run", best_possible=0.045)
    assert has_colour(without, SCORE)
    assert not has_colour(without, BEST)
    assert has_colour(with_best, SCORE)
    assert has_colour(with_best, BEST)


def test_the_boundaries_of_folds_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    without, with_folds = tmp_path / "without.png", tmp_path / "with.png"
    draw_scores(without, ERAS, SCORES, title="run")
    draw_scores(with_folds, ERAS, SCORES, title="run", boundaries=[10, 25])
    assert not has_colour(without, FOLD)
    assert has_colour(with_folds, FOLD)


@pytest.mark.parametrize("n_eras", [4, 60, 658, 1300])
def test_the_bars_of_all_eras_are_visible(n_eras: int, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    eras = [f"{number:04}" for number in range(n_eras)]
    scores = [0.02 + 0.03 * math.sin(number) for number in range(n_eras)]
    draw_scores(tmp_path / "a.png", eras, scores, title="run")
    assert share_of_colour(tmp_path / "a.png", SCORE) > EXPECTED_BARS


@pytest.mark.parametrize(
    ("title", "era"),
    [("a run \udcff", "0001"), ("模型", "紀元"), ("run " * 60, "e" * 200), ("", "")],
)
def test_names_with_missing_glyphs_or_of_extreme_length_are_drawn(
    title: str, era: str, tmp_path: Path
) -> None:
    pytest.importorskip("matplotlib")
    assert draw_scores(tmp_path / "a.png", [era, f"{era} "], [0.1, 0.2], title=title) is not None


def test_long_names_of_eras_do_not_narrow_the_bars(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    shares = []
    for n_letters in (20, 250):
        eras = ["e" * n_letters + era for era in ERAS]
        draw_scores(tmp_path / "a.png", eras, SCORES, title="run")
        shares.append(share_of_colour(tmp_path / "a.png", SCORE))
    assert shares[1] > 0.98 * shares[0]


# -- the picture of a run -------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a run with scores and an earlier picture."""
    run = begin_run(tmp_path / "run", run_record())
    rows = ((era, target, 0.1, 0.2) for era in ERAS for target in ("target", "target_x_20"))
    run.write_era_scores(rows)
    run.chart_path.write_bytes(b"of fewer epochs")
    return run


def draw(run: Run) -> tuple[Path | None, list[str]]:
    warnings: list[str] = []
    return draw_run(run, best_epoch=3, best_possible=None, warn=warnings.append), warnings


def test_the_picture_of_a_run_is_drawn_from_its_folder(run: Run) -> None:
    pytest.importorskip("matplotlib")
    assert draw(run) == (run.chart_path, [])
    assert run.chart_path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "error", [RuntimeError("two\nlines"), OSError(28, "No space left on device"), MemoryError()]
)
def test_a_failed_picture_is_a_warning_and_removes_the_former_one(
    error: Exception, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")

    def fail(*_: object, **__: object) -> None:
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(figure.Figure, "savefig", fail)
        path, (warning,) = draw(run)
    assert path is None
    assert "\n" not in warning
    for said in (str(run.chart_path), type(error).__name__, "--resume"):
        assert said in warning
    assert {entry.name for entry in run.path.iterdir()} == {"config.json", "era_scores.csv"}
    assert draw(run) == (run.chart_path, [])


def test_a_picture_of_damaged_scores_is_a_warning(run: Run) -> None:
    pytest.importorskip("matplotlib")
    (run.path / "era_scores.csv").write_text("era,target\n1,2\n")
    path, (warning,) = draw(run)
    assert path is None
    assert "era_scores.csv" in warning


def test_an_interrupt_while_a_picture_is_drawn_is_not_swallowed(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    figure = pytest.importorskip("matplotlib.figure")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(figure.Figure, "savefig", stop)
    with pytest.raises(KeyboardInterrupt):
        draw(run)


@pytest.mark.parametrize(
    "scores", [[0.02], [math.nan], [math.nan, 0.01, math.nan], [-0.01] * 3, [0.0] * 1300]
)
def test_unusual_scores_are_drawn_without_a_warning(tmp_path: Path, scores: list[float]) -> None:
    pytest.importorskip("matplotlib")
    eras = [rf"$\bad{number}$" for number in range(len(scores))]
    assert draw_scores(tmp_path / "a.png", eras, scores, title=r"run $\bad{ %d$") is not None


def test_the_open_figures_of_a_notebook_are_kept(tmp_path: Path) -> None:
    pyplot = pytest.importorskip("matplotlib.pyplot")
    before = pyplot.get_fignums()
    draw_scores(tmp_path / "a.png", ERAS, SCORES, title="run")
    assert pyplot.get_fignums() == before


def test_without_matplotlib_there_is_no_picture_and_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)  # as if it weren't installed
    assert draw_scores(tmp_path / "a.png", ERAS, SCORES, title="run") is None
    assert not list(tmp_path.iterdir())
