import math
import sys
from pathlib import Path

import pytest

from memmap_train.chart import draw_scores

ERAS = [f"{number:04}" for number in range(1, 41)]
SCORES = [0.03 * math.sin(number) + 0.02 for number in range(40)]


def has_colour(path: Path, colour: str) -> bool:
    """Tell whether any pixel of a picture has a colour."""
    image = pytest.importorskip("matplotlib.image").imread(path)
    wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return bool(((image[..., :3] * 255).round() == wanted).all(axis=-1).any())


def test_the_picture_is_a_png_of_a_fair_size(tmp_path: Path) -> None:
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
    score, best = "#0b69a3", "#de911d"
    assert has_colour(without, score)
    assert not has_colour(without, best)
    assert has_colour(with_best, score)
    assert has_colour(with_best, best)


def test_the_boundaries_of_folds_are_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    without, with_folds = tmp_path / "without.png", tmp_path / "with.png"
    draw_scores(without, ERAS, SCORES, title="run")
    draw_scores(with_folds, ERAS, SCORES, title="run", boundaries=[10, 25])
    assert not has_colour(without, "#9446ed")
    assert has_colour(with_folds, "#9446ed")


@pytest.mark.parametrize(
    "scores", [[0.02], [math.nan], [math.nan, 0.01, math.nan], [-0.01] * 3, [0.0] * 1300]
)
def test_odd_scores_are_drawn_without_a_warning(tmp_path: Path, scores: list[float]) -> None:
    pytest.importorskip("matplotlib")
    eras = [rf"$\bad{number}$" for number in range(len(scores))]
    assert draw_scores(tmp_path / "a.png", eras, scores, title=r"run $\bad{ %d$") is not None


def test_notebooks_keep_their_figures(tmp_path: Path) -> None:
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
