"""The example project: its surveys, its JSON, and its page in a real browser."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from corpus.packages import PackageNotFound, SourceFile, find_sources, list_packages
from corpus.survey import MAX_HITS, search, summarise, survey_file
from django.test import Client
from playwright.sync_api import Browser, Page, expect, sync_playwright

from gearmanny.contrib.django import async_client, client
from gearmanny.worker import BaseWorker
from tests.support.servers import (
    PATIENCE,
    ROOT,
    Gearmand,
    Server,
    end,
    find_program,
    free_port,
    mongodb,
    until,
    workers_of,
)

PROJECT = ROOT / "example_project"
CHROMIUM_OPTIONS = [
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
NOWHERE = "mongodb://127.0.0.1:9/"

PACKAGES = "packages"
"""The folder beside the database whose packages are installed for the workers, too."""

BROWSER_PATIENCE = 15_000
"""Milliseconds that the page may take for anything."""

SHAPES = """\
class Circle:
    def area(self):
        return 3

    async def drawn(self):
        def on_paper():
            return 1
        return on_paper()


if True:
    def measure():
        pass
"""


# What a survey finds, in a package of our own


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A small package with one file that cannot be read. It must not be imported."""
    folder = tmp_path / "tiny_package"
    (folder / "inner").mkdir(parents=True)
    (folder / "__pycache__").mkdir()
    (folder / "__init__.py").write_text("raise RuntimeError('imported')\n")
    (folder / "inner" / "shapes.py").write_text(SHAPES)
    (folder / "broken.py").write_text("x = 1\ndef (:\n")
    (folder / "latin.py").write_bytes(b"name = '\xe9'\n")
    (folder / "__pycache__" / "old.py").write_text("")
    (folder / "notes.txt").write_text("def not_source(): pass")
    monkeypatch.syspath_prepend(tmp_path)
    return folder.name


def test_sources_of_a_package_are_found_without_importing_it(package: str) -> None:
    names = [file.name for file in find_sources(package)]
    assert names == [
        "tiny_package/__init__.py",
        "tiny_package/broken.py",
        "tiny_package/inner/shapes.py",
        "tiny_package/latin.py",
    ]
    assert package not in sys.modules


def test_a_file_is_counted(package: str) -> None:
    file = next(file for file in find_sources(package) if file.path.name == "shapes.py")
    assert survey_file(file) == {
        "file": "tiny_package/inner/shapes.py",
        "lines": 13,
        "classes": 1,
        "functions": 4,
        "longest_function": {"name": "Circle.drawn", "line": 5, "lines": 4},
        "error": None,
    }


def test_what_cannot_be_read_is_a_row_with_an_error(package: str, tmp_path: Path) -> None:
    rows = {row["file"]: row for row in map(survey_file, find_sources(package))}
    assert rows["tiny_package/broken.py"]["error"] == "SyntaxError: invalid syntax (line 2)"
    assert "SyntaxError" in (rows["tiny_package/latin.py"]["error"] or "")
    gone = survey_file(SourceFile("gone.py", tmp_path / "gone.py"))
    assert gone["error"] == "FileNotFoundError: No such file or directory"


def test_totals_count_the_unreadable_too(package: str) -> None:
    totals = summarise(map(survey_file, find_sources(package)))
    assert (totals["files"], totals["unreadable"], totals["lines"]) == (4, 2, 14)
    assert totals["longest_function"] == {
        "file": "tiny_package/inner/shapes.py",
        "name": "Circle.drawn",
        "line": 5,
        "lines": 4,
    }


def test_totals_of_nothing() -> None:
    assert summarise([])["longest_function"] is None


def test_search_looks_at_the_own_name_in_any_case(package: str) -> None:
    found = search(find_sources(package), "CIRC")
    assert found == {
        "hits": [
            {"file": "tiny_package/inner/shapes.py", "line": 1, "kind": "class", "name": "Circle"}
        ],
        "total": 1,
    }
    assert search(find_sources(package), "on_paper")["hits"][0]["name"] == "Circle.drawn.on_paper"


def test_search_counts_what_it_does_not_return(tmp_path: Path) -> None:
    path = tmp_path / "many.py"
    path.write_text("def f(): pass\n" * (MAX_HITS + 5))
    found = search([SourceFile("many.py", path)], "f")
    assert (len(found["hits"]), found["total"]) == (MAX_HITS, MAX_HITS + 5)


def test_the_standard_library_comes_without_its_tests() -> None:
    folders = {part for file in find_sources("stdlib") for part in file.name.split("/")[:-1]}
    assert {"asyncio", "json"} <= folders
    assert not folders & {"test", "tests", "site-packages", "dist-packages", "__pycache__"}


@pytest.mark.parametrize("name", ["no_such_package", "json.decoder", "../etc", "", "__main__"])
def test_an_unknown_package_is_told(name: str) -> None:
    with pytest.raises(PackageNotFound, match="There is no package"):
        find_sources(name)


def test_a_package_without_source_is_told() -> None:
    with pytest.raises(PackageNotFound, match="no Python source"):
        find_sources("sys")


def test_packages_to_choose_from() -> None:
    names = [package["name"] for package in list_packages()]
    assert names[0] == "stdlib"
    assert {"json", "django", "gearmanny"} <= set(names)
    assert all(find_sources(name) for name in ("json", "argparse", "gearmanny"))


# The site, with everything that belongs to it


class Site:
    """The site in a process of its own."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}/"

    def get(self, path: str, *query: tuple[str, str]) -> tuple[int, str]:
        """Returns the status and the body of an answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        with contextlib.closing(connection):
            connection.request("GET", f"{path}?{urlencode(query)}")
            response = connection.getresponse()
            return response.status, response.read().decode()

    def get_json(self, path: str, *query: tuple[str, str]) -> tuple[int, Any]:
        """Returns the status and the decoded body of an answer."""
        status, body = self.get(path, *query)
        return status, json.loads(body)

    def answers(self) -> bool:
        """Returns whether the page comes."""
        try:
            return self.get("/")[0] == 200
        except OSError:
            return False


@contextlib.contextmanager
def manage(host: str, mongodb_uri: str, database: Path, *arguments: str) -> Iterator[None]:
    """Runs a management command."""
    environment = os.environ | {"GEARMAN_HOSTS": host, "MONGODB_URI": mongodb_uri}
    environment |= {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE": str(database)}
    paths = [str(database.parent / PACKAGES), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment["PYTHONPATH"] = os.pathsep.join(paths)
    process = subprocess.Popen(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        yield
    finally:
        end(process)


@contextlib.contextmanager
def serving(host: str, database: Path, mongodb_uri: str = NOWHERE) -> Iterator[Site]:
    """Runs the site."""
    site = Site(free_port())
    with manage(host, mongodb_uri, database, "runserver", "--noreload", f"127.0.0.1:{site.port}"):
        until(site.answers, "the site answering")
        yield site


def _database_in(folder: Path) -> Path:
    path = folder / "corpus.sqlite3"
    (folder / PACKAGES).mkdir()
    environment = os.environ | {"DJANGO_SETTINGS_MODULE": "config.settings", "DATABASE": str(path)}
    command = [sys.executable, "manage.py", "migrate", "--verbosity", "0"]
    subprocess.run(command, cwd=PROJECT, env=environment, check=True, timeout=PATIENCE)
    return path


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of the site, with its tables."""
    return _database_in(tmp_path_factory.mktemp("site"))


@pytest.fixture
def own_database(tmp_path: Path) -> Path:
    """Another one, whose jobs no worker of the site sees."""
    return _database_in(tmp_path)


@pytest.fixture(scope="module")
def site(database: Path) -> Iterator[Site]:
    """The site with a job server, a MongoDB and the workers of two pools."""
    with (
        Gearmand() as server,
        mongodb() as uri,
        manage(server.host, uri, database, "runworkers", "--no-reload"),
        serving(server.host, database, uri) as site,
    ):
        until(lambda: workers_of(server, "corpus_survey") == 2, "two workers of a pool")
        until(lambda: workers_of(server, "reports_write") == 1, "the other pool")
        yield site


@pytest.fixture(scope="module")
def lonely_site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The site without a job server."""
    database = _database_in(tmp_path_factory.mktemp("lonely"))
    with serving(f"127.0.0.1:{free_port()}", database) as site:
        yield site


def test_search_is_answered_from_the_cache_the_second_time(site: Site) -> None:
    query = [("package", "json"), ("q", "DECODE")]
    first = site.get_json("/api/search/", *query)
    second = site.get_json("/api/search/", *query)
    for status, answer in (first, second):
        assert status == 200
        assert answer["package"] == "json"
        assert "JSONDecoder.decode" in [hit["name"] for hit in answer["hits"]]
    assert first[1]["hits"] == second[1]["hits"]


def test_packages_are_compared(site: Site) -> None:
    query = [("package", "json"), ("package", "asyncio"), ("package", "json")]
    status, answer = site.get_json("/api/compare/", *query)
    assert status == 200
    assert list(answer["packages"]) == ["json", "asyncio"]
    assert answer["packages"]["json"] == summarise(map(survey_file, find_sources("json")))


def test_a_census_is_taken_by_itself(site: Site) -> None:
    until(lambda: site.get_json("/api/census/")[1]["census"], "a census")
    census = site.get_json("/api/census/")[1]["census"]
    # Packages in editable mode are found where they are imported, which this process has more of.
    library = [package for package in list_packages() if package["group"] != "installed"]
    assert census["packages"] > len(library)
    assert census["files"] > census["packages"]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/search/", [("package", "json")]),
        ("/api/search/", [("package", "json"), ("q", " ")]),
        ("/api/search/", [("package", "json"), ("q", "x" * 101)]),
        ("/api/compare/", []),
        ("/api/compare/", [("package", f"p{number}") for number in range(6)]),
    ],
)
def test_bad_input_is_400(site: Site, path: str, query: list[tuple[str, str]]) -> None:
    status, answer = site.get_json(path, *query)
    assert status == 400
    assert answer["error"].startswith("Give ?")


def test_an_unknown_package_is_404(site: Site) -> None:
    status, answer = site.get_json("/api/compare/", ("package", "json"), ("package", "nowhere"))
    assert status == 404
    assert answer["error"].startswith("There is no package 'nowhere' here.")


def test_no_job_server_is_503(lonely_site: Site) -> None:
    assert lonely_site.get("/")[0] == 200
    for path in ("/api/packages/", "/api/search/", "/api/compare/"):
        status, answer = lonely_site.get_json(path, ("package", "json"), ("q", "decode"))
        assert status == 503
        assert answer["error"].startswith("No Gearman job server reached: 127.0.0.1:")


def _settings(host: str, timeout: float) -> dict[str, Any]:
    return {"HOSTS": [host], "TIMEOUT": timeout}


def test_no_worker_is_504(gearman_server: Server, settings: Any, client_of_site: Client) -> None:
    settings.GEARMANNY = _settings(gearman_server.host, 0.2)
    response = client_of_site.get("/api/search/", {"package": "json", "q": "decode"})
    assert response.status_code == 504
    assert "No worker offers it" in response.json()["error"]


class Failing(BaseWorker):
    """Stands where the worker of the example should."""

    name = "corpus"

    def task_search(self, package: str, text: str) -> None:
        """Fails."""
        raise RuntimeError("out of order")


def test_a_failing_task_is_502(gearman_eager: Callable[..., None], client_of_site: Client) -> None:
    gearman_eager(Failing)
    response = client_of_site.get("/api/search/", {"package": "json", "q": "decode"})
    assert response.status_code == 502
    assert response.json() == {"error": "out of order"}


# The page


@pytest.fixture
def client_of_site(settings: Any) -> Iterator[Client]:
    """Django's test client: the views in this process, with settings of the test's."""
    settings.ROOT_URLCONF = "corpus.urls"
    yield Client()
    client.close()
    async_client.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A real browser."""
    path = find_program("chromium", "chromium")
    options = [*CHROMIUM_OPTIONS, *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A page at the width of a phone; errors in its script fail the test."""
    with contextlib.closing(browser.new_context(viewport={"width": 390, "height": 844})) as context:
        context.set_default_timeout(BROWSER_PATIENCE)
        page = context.new_page()
        problems: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        yield page
        assert not problems


def see(page: Page, selector: str, text: str | re.Pattern[str]) -> None:
    """Waits until an element shows a text."""
    expect(page.locator(selector)).to_contain_text(text, timeout=BROWSER_PATIENCE)


def test_a_visitor_surveys_and_searches(site: Site, page: Page) -> None:
    page.goto(site.url)
    page.get_by_label("Package", exact=True).select_option("asyncio")
    page.get_by_role("button", name="Start the survey").click()
    see(page, "#status", "Done: ")
    files = len(find_sources("asyncio"))
    progress = page.get_by_role("progressbar", name="Files surveyed")
    assert progress.evaluate("bar => [bar.value, bar.max]") == [1, 1]
    see(page, "#count", f"{files} of {files} files")
    see(page, "#total-files", str(files))
    expect(page.get_by_role("link", name="This job in the explorer")).to_be_visible()
    expect(page.locator("#chart li")).to_have_count(12)
    widths = page.locator("#chart .bar").evaluate_all(
        "bars => bars.map(bar => Number(bar.style.getPropertyValue('--share')))"
    )
    assert widths[0] == 1
    assert widths == sorted(widths, reverse=True)
    expect(page.locator("#rows tr")).to_have_count(20)
    page.get_by_role("button", name=f"Show all {files} files").click()
    expect(page.locator("#rows tr")).to_have_count(files)
    page.get_by_role("button", name="File", exact=True).click()
    see(page, "#rows tr:first-child", "asyncio/__init__.py")

    page.get_by_label("Name of a class or function").fill("run_forever")
    page.get_by_role("button", name="Search").click()
    see(page, "#search-status", "for “run_forever” in asyncio")
    expect(page.locator("#hits li").filter(has_text="BaseEventLoop.run_forever")).to_have_count(1)
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_a_visitor_orders_a_report_that_fails_and_has_it_tried_again(
    site: Site, page: Page, database: Path
) -> None:
    page.goto(site.url)
    page.get_by_label("Package, even one").fill("yet_to_come")
    page.get_by_role("button", name="Order a report").click()
    # On a busy machine, the page looks too seldom to show the first one.
    see(page, "#reports li", re.compile("To be tried again, as attempt [12] failed."))
    see(page, "#reports li", "Failed after 3 attempts. There is no package 'yet_to_come' here.")
    package = database.parent / PACKAGES / "yet_to_come"
    package.mkdir()
    (package / "__init__.py").write_text(SHAPES)
    page.get_by_role("button", name="Try the report of yet_to_come again").click()
    see(page, "#reports li", "1 file, 13 lines, 4 functions.")
    page.reload()
    see(page, "#reports li", "1 file, 13 lines, 4 functions.")
    assert "/admin/gearmanny/jobrecord/" in page.get_by_role("link", name="yet_to_come").evaluate(
        "link => link.href"
    )
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_reports_are_only_ordered_by_the_page_and_retried_where_they_exist(
    site: Site, page: Page
) -> None:
    page.goto(site.url)
    assert page.request.post(f"{site.url}api/reports/?package=json").status == 403
    token = page.locator("#survey-form [name=csrfmiddlewaretoken]").input_value()
    nobody = f"{site.url}api/reports/018f0000-0000-7000-8000-000000000000/retry/"
    answer = page.request.post(nobody, headers={"X-CSRFToken": token})
    assert (answer.status, "no such report" in answer.text()) == (404, True)
    answer = page.request.post(f"{site.url}api/reports/", headers={"X-CSRFToken": token})
    assert (answer.status, answer.json()["error"][:6]) == (400, "Give ?")


def test_a_job_is_only_shown_as_what_it_is(site: Site, page: Page) -> None:
    page.goto(site.url)
    token = page.locator("#survey-form [name=csrfmiddlewaretoken]").input_value()
    headers = {"X-CSRFToken": token}
    answer = page.request.post(f"{site.url}api/reports/?package=xml", headers=headers)
    report = answer.json()["reports"][0]["id"]
    assert page.request.get(f"{site.url}survey/{report}/").status == 404
    survey = page.request.post(f"{site.url}survey/?package=xml", headers=headers).json()["survey"]
    retry = f"{site.url}api/reports/{survey}/retry/"
    assert page.request.post(retry, headers=headers).status == 404


def test_a_visitor_is_told_that_there_is_no_job_server(lonely_site: Site, page: Page) -> None:
    page.goto(lonely_site.url)
    see(page, "#packages-error", "No Gearman job server reached")
    page.get_by_role("button", name="Start the survey").click()
    see(page, "#status", "Still waiting")
    see(page, "#survey-error", "No worker has begun with it yet.")
    page.get_by_label("Name of a class or function").fill("loop")
    page.get_by_role("button", name="Search").click()
    see(page, "#search-error", "No Gearman job server reached")


def test_a_visitor_comes_back_to_the_survey_and_is_served(
    gearman_server: Server, page: Page, own_database: Path
) -> None:
    # The slash of "</b>" is in the path.
    package = own_database.parent / PACKAGES / "odd_names"
    (package / "<b>odd & name<").mkdir(parents=True)
    (package / "<b>odd & name<" / "b>.py").write_text(SHAPES)
    with serving(gearman_server.host, own_database) as site:
        page.goto(site.url)
        token = page.locator("#survey-form [name=csrfmiddlewaretoken]").input_value()
        answer = page.request.post(
            f"{site.url}survey/?package=odd_names", headers={"X-CSRFToken": token}
        )
        page.goto(f"{site.url}?survey={answer.json()['survey']}")
        see(page, "#status", "Still waiting")
        page.reload()
        see(page, "#survey-error", "No worker has begun with it yet.")
        with manage(gearman_server.host, NOWHERE, own_database, "runworkers", "--no-reload"):
            see(page, "#status", "Done: 1 file ")
        expect(page.locator("#survey-error")).to_be_hidden()
        expect(page.locator("#rows th")).to_have_text("odd_names/<b>odd & name</b>.py")
        expect(page.get_by_role("progressbar", name="Files surveyed")).to_have_attribute(
            "value", "1"
        )
        page.reload()
        see(page, "#status", "Done: 1 file ")
        page.goto(f"{site.url}?survey=018f0000-0000-7000-8000-000000000000")
        see(page, "#survey-error", "There is no such survey any more.")


def test_a_survey_that_fails_says_why(site: Site, page: Page) -> None:
    page.goto(site.url)
    token = page.locator("#survey-form [name=csrfmiddlewaretoken]").input_value()
    begin = f"{site.url}survey/?package=no_such_package"
    assert page.request.post(begin).status == 403
    answer = page.request.post(begin, headers={"X-CSRFToken": token})
    survey = answer.json()["survey"]
    page.goto(f"{site.url}?survey={survey}")
    see(page, "#survey-error", "There is no package 'no_such_package' here.")
    see(page, "#status", "The survey ended early.")
