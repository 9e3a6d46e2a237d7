"""The page of an evaluation in Chromium: drawn without an error, examined with mouse and keys."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from memmap_train.scoring.evaluation import Evaluation
from memmap_train.scoring.report.write import write_report
from tests.support.browser import CHROMIUM, Page, browser
from tests.support.evaluations import synthetic_evaluation

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no chromium"),
    pytest.mark.skipif(find_spec("vl_convert") is None, reason="vl-convert-python isn't installed"),
]

READY = """new Promise((done) => {
  const look = () => document.body.dataset.ready ? done(true) : setTimeout(look, 10);
  look();
})"""
DRAWN = """[...document.querySelectorAll("figure")].map((figure) =>
  [figure.id, figure.querySelectorAll("svg path, svg line").length])"""
PLACE = """(() => {
  const plot = document.querySelector("#%s .plot");
  plot.scrollIntoView({block: "center", behavior: "instant"});
  const box = plot.getBoundingClientRect();
  return [box.left + box.width / 2, box.top + box.height / 2, box.left + box.width * 0.75];
})()"""
SETTLED = """new Promise((done) => {
  const look = () => document.body.dataset.busy === "0" ? done(true) : setTimeout(look, 10);
  look();
})"""
TIP = "document.querySelector('.tip').hidden ? '' : document.querySelector('.tip').innerText"


@pytest.fixture(scope="module")
def evaluation() -> Evaluation:
    names = ["</script><script>document.title='broken'</script>", "second", "third"]
    return synthetic_evaluation(names, n_eras=120)


@pytest.fixture(scope="module")
def path(evaluation: Evaluation, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_report(evaluation, path)
    return path


@pytest.fixture(scope="module")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with browser(tmp_path_factory.mktemp("chromium") / "profile") as page:
        yield page


@pytest.fixture
def page(chromium: Page, path: Path) -> Iterator[Page]:
    """Yield the page, ready and drawn; no test may leave a message in its console."""
    chromium.messages.clear()
    chromium.open(path)
    assert chromium.run(READY)
    yield chromium
    assert chromium.messages == []


@pytest.mark.parametrize(("width", "theme"), [(1440, "light"), (1440, "dark"), (390, "dark")])
def test_all_charts_are_drawn_and_nothing_is_loaded(
    chromium: Page, path: Path, width: int, theme: str
) -> None:
    chromium.messages.clear()
    chromium.requests.clear()
    chromium.open(path, width=width, theme=theme)
    assert chromium.run(READY)
    drawn = dict(chromium.run(DRAWN))
    assert {"sum-corr", "sum-mmc", "sum-bmc", "sum-difference", "bars-0", "drawdown"} <= set(drawn)
    assert all(n_marks > 2 for n_marks in drawn.values()), drawn
    assert chromium.messages == []
    assert {address for address in chromium.requests if address != "data:,"} == {path.as_uri()}
    assert chromium.run("document.title").startswith("</script>")
    # The page is as wide as the window: only tables scroll.
    assert chromium.run("document.documentElement.scrollWidth") == width


def test_the_theme_follows_the_reader(chromium: Page, path: Path) -> None:
    colours = []
    for theme in ("light", "dark"):
        chromium.open(path, theme=theme)
        colours.append(chromium.run("getComputedStyle(document.body).backgroundColor"))
    assert colours == ["rgb(246, 247, 249)", "rgb(16, 21, 27)"]


@pytest.mark.parametrize(
    "name", ["sum-corr", "bars-0", "drawdown", "largest-exposures", "proportions", "learning-loss"]
)
def test_the_mouse_shows_numbers(page: Page, name: str) -> None:
    x, y, _ = page.run(PLACE % name)
    page.move(x, y)
    lines = page.run(TIP).splitlines()
    assert len(lines) >= 2
    assert any(line.replace("-", "").replace(".", "").isdigit() for line in lines), lines
    page.move(1, 1)
    assert page.run(TIP) == ""


def test_the_shown_number_is_that_of_the_table(page: Page) -> None:
    x, y, _ = page.run(PLACE % "bars-0")
    page.move(x, y)
    era, _, shown = page.run(TIP).splitlines()
    cell = f"""[...document.querySelectorAll("table[data-model='0'] tbody tr")].find(
        (row) => row.cells[0].textContent === {era.removeprefix("era ")!r}).cells[1].textContent"""
    assert float(shown) == pytest.approx(float(page.run(cell)), abs=0.00006)


def test_keys_move_the_cursor(page: Page, evaluation: Evaluation) -> None:
    page.run("document.querySelector('#sum-corr .plot').focus()")
    shown = []
    for key in ("Home", "ArrowRight", "End", "Escape"):
        page.press(key)
        shown.append(page.run(TIP).partition("\n")[0])
    scored = [
        era
        for position, era in enumerate(evaluation.models[0].eras)
        if any(np.isfinite(m.by_target["target"].corr[position]) for m in evaluation.all_models)
    ]
    assert shown == [*(f"era {era}" for era in (scored[0], scored[1], scored[-1])), ""]


def test_a_drag_zooms_all_charts_of_eras(page: Page) -> None:
    first = "document.querySelector('#%s svg').innerHTML.length"
    before = [page.run(first % name) for name in ("sum-corr", "drawdown", "proportions")]
    x, y, end = page.run(PLACE % "sum-corr")
    page.move(x, y)
    page.move(x, y, "mousePressed", "left")
    page.move(end, y, "mouseMoved", "left")
    page.move(end, y, "mouseReleased", "left")
    assert page.run(SETTLED)
    after = [page.run(first % name) for name in ("sum-corr", "drawdown", "proportions")]
    assert after[0] != before[0]
    assert after[1] != before[1]
    assert after[2] == before[2]


def test_a_model_can_be_hidden(page: Page) -> None:
    page.run("document.querySelector('[data-toggle=\"1\"]').click()")
    assert page.run(SETTLED)
    x, y, _ = page.run(PLACE % "sum-corr")
    page.move(x, y)
    assert "second" not in page.run(TIP)
    assert "third" in page.run(TIP)
