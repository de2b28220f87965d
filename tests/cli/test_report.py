"""`evaluate --report` on items whose titles and images are made to harm, in a real browser where there is one."""

import json
import threading
from collections.abc import Callable, Iterator
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from recsys_polars.cli import demo
from tests.browser import Tab, browser_tab
from tests.cli.conftest import START, good_log, invoke
from tests.forging import forge

PIXEL = bytes.fromhex("47494638396101000100800000ffffff00000021f90401000000002c00000000010001000002024401003b")
TITLES = (
    "<script>window.ran = 1</script>",
    '"><img src=x onerror="window.ran = 1">',
    "'><svg onload=window.ran=1>",
    "</title></style></script><script>window.ran = 1</script>",
    "<a href=javascript:window.ran=1>click</a>",
    "\u202egnp.exe\u2066",
)


class Images(BaseHTTPRequestHandler):
    """Answers every question with an image of one pixel, and writes down what was asked."""

    asked: list[str] = []  # noqa: RUF012

    def do_GET(self) -> None:
        Images.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Type", "image/gif")
        self.end_headers()
        self.wfile.write(PIXEL)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def image_server() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Images) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def report(image_server: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report on two models, one of them in a file whose name is hostile too."""
    folder = tmp_path_factory.mktemp("report")
    log, items, store = folder / "log.csv", folder / "items.parquet", folder / "store"
    log.write_text(good_log())
    images = [f"{image_server}/{n}.gif" if n % 2 else "javascript:window.ran=1" for n in range(20)]
    titles = [escape(TITLES[n % len(TITLES)]) for n in range(20)]  # reading takes tags out, and then unescapes once
    ids = [f"i{n:03}" for n in range(20)]
    pl.DataFrame({"item_id": ids, "title": titles, "image_url": images}).write_parquet(items)
    out = folder / "report.html"
    predictions = [folder / f"{name}.parquet" for name in ("popularity", "<script>window.ran = 1<", "tower")]
    commands: list[tuple[object, ...]] = [
        ("build-features", "--interactions", log, "--items", items, "--out", store),
        ("train", "--model", "popularity", "--store", store),
        ("train", "--model", "two-tower", "--store", store),
        *(("rank", "--model", "popularity", "--store", store, "--out", file) for file in predictions[:2]),
        ("rank", "--model", "two-tower", "--store", store, "--out", predictions[2]),
        ("evaluate", *predictions, "--store", store, "--report", out),
    ]
    for command in commands:
        result = invoke(*command)
        assert result.exit_code == 0, result.output
    return out


@pytest.fixture(scope="module")
def tab() -> Iterator[Tab]:
    with browser_tab() as found:
        yield found


def test_a_report_is_one_file_beside_the_table(report: Path) -> None:
    assert report.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert not [path for path in report.parent.iterdir() if path.name.startswith(".report")]


def test_a_report_is_the_same_bytes_again(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    written = []
    for name in ("a.html", "b.html"):
        accept("evaluate", world.predictions, "--store", world.store, "--report", tmp_path / name)
        written.append((tmp_path / name).read_bytes())
    assert written[0] == written[1]


def test_a_report_of_warm_users_says_whom_it_judged(accept: Callable[..., str], world: Any, tmp_path: Path) -> None:
    words = ("--users", "warm", "-k", "3", "--report", tmp_path / "r.html")
    accept("evaluate", world.predictions, "--store", world.store, *words)
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "those who had liked something before the cut" in text
    assert "NDCG@3" in text


def test_a_manifest_that_says_something_else_is_not_believed(
    accept: Callable[..., str], world: Any, store: Path, tmp_path: Path
) -> None:
    odd = {"steps": [5, {"name": ["x"], "rows_in": "<b>many</b>"}], "counts": [], "parameters": {"split": {"a": "<i>"}}}
    forge(store, lambda manifest: manifest | odd)
    accept("evaluate", world.predictions, "--store", store, "--report", tmp_path / "r.html")
    text = (tmp_path / "r.html").read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "<i>" not in text


@pytest.mark.parametrize("where", ["folder", "missing/report.html"])
def test_a_place_where_no_report_can_be_written_is_told(
    run: Callable[..., Any], world: Any, tmp_path: Path, where: str
) -> None:
    (tmp_path / "folder").mkdir()
    result = run("evaluate", world.predictions, "--store", world.store, "--report", tmp_path / where)
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_predictions_of_users_without_truth_still_make_a_report(
    accept: Callable[..., str], world: Any, tmp_path: Path
) -> None:
    nobody = pl.read_parquet(world.predictions).with_columns(user_id="nobody" + pl.col("user_id"))
    nobody.write_parquet(tmp_path / "p.parquet")
    accept("evaluate", tmp_path / "p.parquet", "--store", world.store, "--report", tmp_path / "r.html")
    assert "0.0000" in (tmp_path / "r.html").read_text(encoding="utf-8")


def test_a_catalogue_of_fewer_than_ten_items_makes_a_report(accept: Callable[..., str], tmp_path: Path) -> None:
    rows = [f"u{user},i{item},5,{START + 1000 * item + user}" for user in range(6) for item in range(4)]
    (tmp_path / "log.csv").write_text("\n".join(["user_id,item_id,rating,event_time", *rows]))
    accept("build-features", "--interactions", tmp_path / "log.csv", "--out", tmp_path / "s", "--test-fraction", "0.3")
    accept("train", "--model", "popularity", "--store", tmp_path / "s")
    accept("rank", "--store", tmp_path / "s", "--out", tmp_path / "p.parquet")
    accept("evaluate", tmp_path / "p.parquet", "--store", tmp_path / "s", "--report", tmp_path / "r.html")
    assert (tmp_path / "r.html").stat().st_size > 10_000


@pytest.mark.parametrize(("width", "dark"), [(390, False), (1280, True)])
def test_a_browser_shows_the_report_without_a_complaint_or_a_request(
    tab: Tab, report: Path, width: int, dark: bool
) -> None:
    Images.asked.clear()
    tab.open(report, width=width, dark=dark)
    assert tab.requests() == [report.absolute().as_uri()]
    assert tab.complaints() == []
    assert Images.asked == []
    assert tab.ask("document.querySelectorAll('svg.chart').length") > 15
    unmarked = "[...document.querySelectorAll('svg.chart')].filter(c => !c.querySelector('.mark, rect')).length"
    assert tab.ask(unmarked) == 0
    assert tab.ask("document.documentElement.scrollWidth") <= width, "the page itself never scrolls sideways"


def test_no_mark_or_text_of_a_chart_is_cut_off(tab: Tab, report: Path) -> None:
    tab.open(report)
    beyond = """[...document.querySelectorAll('svg.chart')].flatMap(chart => {
        const box = chart.getBoundingClientRect();
        return [...chart.querySelectorAll('text, .mark, line, rect, path')].filter(one => {
            const own = one.getBoundingClientRect();
            return own.left < box.left - 1 || own.right > box.right + 1 || own.top < box.top - 1
                || own.bottom > box.bottom + 1;
        }).map(one => one.outerHTML);
    })"""
    assert tab.ask(beyond) == []


def test_a_table_of_few_models_stands_beside_the_charts_where_there_is_room(
    tab: Tab, report: Path, accept: Callable[..., str], tmp_path: Path
) -> None:
    one = tmp_path / "one.html"
    accept("evaluate", report.parent / "popularity.parquet", "--store", report.parent / "store", "--report", one)
    rectangle = "JSON.stringify(document.querySelector('#models {}').getBoundingClientRect())"
    for file, width, is_beside in ((one, 1280, True), (one, 390, False), (report, 1280, False)):
        tab.open(file, width=width)
        charts, table = (json.loads(tab.ask(rectangle.format(what))) for what in (".charts", "table"))
        assert (table["left"] > charts["right"], table["top"] > charts["bottom"]) == (is_beside, not is_beside)


def test_no_title_runs(tab: Tab, report: Path) -> None:
    tab.open(report)
    for link in range(tab.ask("document.querySelectorAll('a').length")):
        tab.ask(f"document.querySelectorAll('a')[{link}].click()")
    assert tab.ask("'ran' in window") is False
    assert tab.ask("document.querySelectorAll('img').length") == 0
    shown = tab.ask("[...document.querySelectorAll('article bdi')].map(one => one.textContent)")
    assert set(TITLES[:5]) <= set(shown)
    assert tab.complaints() == []


def test_the_policy_stops_what_a_page_should_never_hold(tab: Tab, report: Path, tmp_path: Path) -> None:
    harm = (
        "<script>window.ran = 1</script><img src='http://127.0.0.1:9/x' onerror='window.ran = 1'>"
        "<style>body { display: none }</style><link rel='stylesheet' href='http://127.0.0.1:9/x'>"
        "<iframe src='http://127.0.0.1:9/x'></iframe>"
    )
    text = report.read_text(encoding="utf-8").replace("</main>", f"{harm}</main>")
    (tmp_path / "harmed.html").write_text(text, encoding="utf-8")
    tab.open(tmp_path / "harmed.html")
    tab.ask("fetch('http://127.0.0.1:9/x').catch(() => 0)")
    tab.wait_for(lambda: len(tab.complaints()) >= 5)
    assert tab.ask("'ran' in window") is False
    assert tab.ask("getComputedStyle(document.body).display") == "block"


def test_images_are_loaded_once_the_reader_says_so(tab: Tab, report: Path) -> None:
    Images.asked.clear()
    tab.open(report)
    assert Images.asked == []
    tab.ask("for (const article of document.querySelectorAll('article')) article.scrollIntoView()")
    tab.ask("document.getElementById('load-images').click()")
    loaded = "[...document.querySelectorAll('.cover img')].some(one => one.complete && one.naturalWidth === 1)"
    tab.wait_for(lambda: bool(tab.ask(loaded)))
    assert Images.asked
    assert tab.ask("document.getElementById('load-images')") is None
    assert tab.ask("document.activeElement.textContent").endswith("images were asked for.")
    assert tab.complaints() == []
    assert tab.ask("'ran' in window") is False


def test_the_keyboard_goes_to_the_figures_first(tab: Tab, report: Path) -> None:
    tab.open(report)
    for kind in ("rawKeyDown", "keyUp"):
        tab.do("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
    assert tab.ask("document.activeElement.textContent") == "Skip to the figures"
    assert tab.ask("document.activeElement.getBoundingClientRect().left") >= 0


def test_text_can_be_told_from_its_ground_in_light_and_dark(tab: Tab, report: Path) -> None:
    contrast = """(() => {
        const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(Number).map(c => c / 255)
            .map(c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4)
            .reduce((sum, c, n) => sum + c * [0.2126, 0.7152, 0.0722][n], 0);
        const ground = one => {
            const own = getComputedStyle(one).backgroundColor;
            return own !== 'rgba(0, 0, 0, 0)' ? own : ground(one.parentElement);
        };
        const ratio = (a, b) => (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
        const texts = [...document.querySelectorAll('p, dt, dd, a, th, td, span, caption, h1, h2, h3, h4, li')];
        const marks = [...document.querySelectorAll('.mark')];
        return [
            ...texts.map(one => [one, getComputedStyle(one).color, 4.5]),
            ...marks.map(one => [one, getComputedStyle(one).color, 3]),
        ].filter(([one, colour, least]) => ratio(light(colour), light(ground(one))) < least)
            .map(([one]) => one.outerHTML);
    })()"""
    for dark in (False, True):
        tab.open(report, dark=dark)
        assert tab.ask(contrast) == [], dark


def test_printing_unfolds_the_figures(tab: Tab, report: Path) -> None:
    tab.open(report)
    height = "document.querySelector('details table').getBoundingClientRect().height"
    tab.do("Emulation.setEmulatedMedia", media="print")
    printed = tab.ask(height)
    tab.do("Emulation.setEmulatedMedia", media="")
    assert printed > 50


def test_the_demo_leaves_a_report(run: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "NAMES", ("popularity",))
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert result.exit_code == 0, result.output
    assert "; all of it and more: data/demo/report.html; " in result.stderr.splitlines()[-1]
    text = Path("data/demo/report.html").read_text(encoding="utf-8")
    assert "<dd>651 of 671</dd>" in text
    assert " ms a user" in text, "the demo knows how long a ranking took"
