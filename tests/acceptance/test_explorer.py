"""The explorer in a real browser: with its script and without, and as machines read it aloud.

The views are tested one by one in `tests/djangoapps/recorded/admin_cases.py`.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from gearmanny.contrib.django.explorer.drawings import HEIGHT, bars
from gearmanny.records.states import State
from gearmanny.records.summaries import Run
from tests.support.servers import (
    PATIENCE,
    ROOT,
    Gearmand,
    end,
    find_program,
    free_port,
    until,
)

ADMIN = "/admin/gearmanny/"
JOBS = f"{ADMIN}jobrecord/"

BROWSER_PATIENCE = 15_000
"""Milliseconds that the page may take for anything."""

HOSTILE = "</pre><script>window.broken = 1</script><img src=x onerror='window.broken = 1'>\u202e"

LOOK = """element => {
    const {backgroundColor, color, padding, margin} = getComputedStyle(element);
    const link = getComputedStyle(element.querySelector("a"));
    return [backgroundColor, color, padding, margin, link.color, link.fontSize];
}"""

SUPERUSER = """
from django.contrib.auth.models import User
User.objects.create_superuser("admin", password="admin")
"""


class Site:
    """The project, with its web server, a job server and workers."""

    def __init__(self, environment: dict[str, str], url: str, gearmand: Gearmand) -> None:
        self.environment = environment
        self.gearmand = gearmand
        self.url = url

    def manage(self, *arguments: str, given: str = "") -> str:
        """Runs a command of the project to its end."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=self.environment,
            input=given,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )
        assert done.returncode == 0, done.stdout
        return done.stdout

    @contextlib.contextmanager
    def running(self, *arguments: str) -> Iterator[subprocess.Popen[Any]]:
        """Runs a program while the block runs."""
        program = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        try:
            yield program
        finally:
            end(program)

    def submit(self, function: str, **arguments: Any) -> str:
        """Submits a recorded job; returns its id."""
        code = (
            "from gearmanny.contrib.django import async_client as c\n"
            f"print(*c.submit_many({function!r}, [{arguments!r}]))"
        )
        return self.manage("shell", "--no-imports", given=code).split()[-1]

    def state(self, id: str) -> str:
        """The state of a recorded job."""
        found = json.loads(self.manage("gearmanny", "jobs", "show", id, "--json"))
        state: str = found["state"]
        return state

    def await_state(self, id: str, *states: str) -> None:
        until(lambda: self.state(id) in states, f"{id} {' or '.join(states)}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE):
            return True
    except (urllib.error.URLError, ConnectionError):
        return False


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    port = free_port()
    database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": str(tmp_path_factory.mktemp("site") / "db.sqlite3"),
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
    with Gearmand() as gearmand:
        environment = {
            **os.environ,
            "DJANGO_SETTINGS_MODULE": "tests.django_settings",
            "TEST_APP": "tests.djangoapps.explored",
            "TEST_ADMIN": "1",
            "TEST_STRICT": "1",
            "TEST_DEBUG": "1",
            "TEST_DATABASES": json.dumps({"default": database}),
            "TEST_RECORDS": json.dumps({"STORE": "database"}),
            "TEST_HOSTS": gearmand.host,
        }
        site = Site(environment, f"http://127.0.0.1:{port}", gearmand)
        site.manage("migrate", "-v0")
        site.manage("shell", "--no-imports", given=SUPERUSER)
        server = ["uvicorn", "--port", str(port), "tests.djangoapps.explored.asgi:application"]
        with site.running("django", "runworkers"), site.running(*server):
            until(lambda: _answers(f"{site.url}/admin/login/"), "the site")
            yield site


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    path = find_program("chromium", "chromium")
    options = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=options)
        yield browser
        browser.close()


NewPage = Callable[..., Page]


@pytest.fixture
def new_page(site: Site, browser: Browser) -> Iterator[NewPage]:
    """Opens pages of somebody who may do everything. An error in a script, or something that the
    policy forbids, fails the test."""
    problems: list[str] = []
    with contextlib.ExitStack() as stack:

        def new(**options: Any) -> Page:
            context = stack.enter_context(contextlib.closing(browser.new_context(**options)))
            context.set_default_timeout(BROWSER_PATIENCE)
            page = context.new_page()
            page.on("pageerror", lambda error: problems.append(str(error)))
            page.on(
                "console",
                lambda message: (
                    problems.append(message.text) if "Content Security" in message.text else None
                ),
            )
            page.goto(f"{site.url}/admin/")
            page.fill("#id_username", "admin")
            page.fill("#id_password", "admin")
            page.click("[type=submit]")
            return page

        yield new
    assert not problems


def see(page: Page, selector: str, text: str) -> None:
    """Waits until an element shows a text."""
    expect(page.locator(selector).first).to_contain_text(text, timeout=BROWSER_PATIENCE)


class TestCalls:
    def test_a_call_shows_its_progress_and_its_rows_while_it_runs(
        self, site: Site, new_page: NewPage, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        page = new_page()
        page.goto(f"{site.url}{JOBS}call/shop_step/")
        page.fill("[name=argument-gate]", str(gate))
        page.get_by_role("button", name="Call", exact=True).click()
        see(page, "[data-part=rows]", "<i>first</i>")
        see(page, "[data-part=progress]", "1 of 2")
        assert page.locator("[data-part=end]").inner_text() == ""
        gate.touch()
        see(page, "[data-part=rows]", "second")
        see(page, "[data-part=end]", "Result")

    def test_a_call_shows_what_failed(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{JOBS}call/shop_refuse/")
        page.fill("[name=argument-text]", HOSTILE)
        page.get_by_role("button", name="Call", exact=True).click()
        see(page, "[data-part=end]", "builtins.ValueError: </pre><script>")
        assert page.evaluate("window.broken") is None

    def test_a_form_says_what_is_missing(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{JOBS}functions/")
        page.get_by_role("link", name="shop_ship").click()
        see(page, "#content", "Ships a parcel <b>today</b>.")
        page.fill("[name=argument-parcel]", "a")
        page.select_option("[name=argument-insured]", "true")
        page.get_by_role("button", name="Call", exact=True).click()
        see(page, "[data-part=end]", "1208925819614629174706176")
        see(page, "[data-part=end]", "insured: true")

    def test_in_the_background_it_leads_to_its_record(
        self, site: Site, new_page: NewPage, tmp_path: Path
    ) -> None:
        gate = tmp_path / "gate"
        page = new_page()
        page.goto(f"{site.url}{JOBS}call/shop_wait/")
        page.fill("[name=argument-gate]", str(gate))
        page.get_by_role("button", name="Run in the background").click()
        see(page, "#job", "1 of 3")
        page.reload()
        see(page, "#job", "1 of 3")
        gate.touch()
        see(page, "#job", "it came")
        expect(page.locator("#job progress")).to_have_count(0)  # whose last step may be missing

    def test_a_double_click_submits_one_job(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{JOBS}call/shop_ship/")
        page.fill("[name=argument-parcel]", "double")
        held: list[Route] = []

        def hold(route: Route) -> None:
            held.append(route)

        page.route("**/call/shop_ship/", hold)
        page.evaluate(
            "(button => { button.click(); setTimeout(() => button.click(), 200); })"
            "(document.querySelector('[value=background]'))"
        )
        page.wait_for_timeout(1000)
        (route,) = held
        route.continue_()
        see(page, "#job", "double")

    def test_it_works_without_a_script(self, site: Site, new_page: NewPage) -> None:
        page = new_page(java_script_enabled=False)
        page.goto(f"{site.url}{JOBS}call/shop_ship/")
        page.fill("[name=argument-parcel]", "a")
        page.get_by_role("button", name="Call", exact=True).click()
        see(page, "#updates", "1208925819614629174706176")
        page.goto(f"{site.url}{ADMIN}")
        see(page, "#now", "shop_ship")


class TestNow:
    def test_it_follows_what_happens(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{ADMIN}")
        see(page, "#now", "shop_ship")
        expect(page.locator(".gm-abandoned")).to_have_count(0)
        site.submit("nobody_does", a=1)
        see(page, ".gm-abandoned", "nobody_does")
        see(page, ".gm-abandoned", "no worker")

    def test_it_waits_while_somebody_types(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{ADMIN}")
        page.evaluate(
            "document.getElementById('content-main').insertAdjacentHTML('beforeend', '<input>')"
        )
        page.focus("#content-main input")
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.wait_for_timeout(4000)
        assert asked == []
        with page.expect_request(f"**{ADMIN}"):
            page.evaluate("document.activeElement.blur()")

    def test_it_says_when_the_session_is_over(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{ADMIN}")
        see(page, "#now", "shop_ship")
        page.context.clear_cookies()
        see(page, "#now", "not refreshed any more")
        expect(page.locator("[data-refresh]")).to_have_count(0)

    def test_a_job_server_that_is_down_is_a_row(self, site: Site, new_page: NewPage) -> None:
        page = new_page()
        page.goto(f"{site.url}{ADMIN}")
        row = page.locator("#now tr", has_text=site.gearmand.host).first
        expect(row).not_to_contain_text("down")
        with stopped(site.gearmand):
            expect(row).to_contain_text("down")
        expect(row).not_to_contain_text("down")


@contextlib.contextmanager
def stopped(server: Gearmand) -> Iterator[None]:
    """Holds a job server up."""
    assert server._process is not None
    server._process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server._process.send_signal(signal.SIGCONT)


class TestPast:
    def test_a_failed_job_is_found_and_tried_again(self, site: Site, new_page: NewPage) -> None:
        id = site.submit("shop_refuse", text=HOSTILE + "x" * 10**6)
        site.await_state(id, "failed")
        page = new_page()
        page.goto(f"{site.url}{JOBS}")
        page.get_by_role("link", name="Failed").click()
        page.get_by_label("Function").fill("shop_refuse")
        page.get_by_role("button", name="Filter").click()
        see(page, "#result_list", id[-12:])
        page.get_by_role("link", name=id[-12:]).click()
        see(page, "#job", "builtins.ValueError: </pre><script>")
        page.get_by_role("button", name="Retry").click()
        see(page, "main", "Retry: 1 job.")
        see(page, "#job", "Queued again.")
        assert page.evaluate("window.broken") is None
        site.await_state(id, "failed")

    def test_all_that_match_are_discarded_by_a_job(self, site: Site, new_page: NewPage) -> None:
        ids = [site.submit("shop_later", number=number) for number in range(2)]
        page = new_page()
        page.goto(f"{site.url}{JOBS}?function=shop_later")
        page.get_by_label("all that match the filter").check()
        page.get_by_role("button", name="Discard").click()
        see(page, "#content", "The filter matches 2 jobs.")
        page.get_by_role("button", name="Discard").click()
        see(page, "#job", "changed: 2")
        page.goto(f"{site.url}{JOBS}?q={ids[0]}")
        see(page, "#content", "No jobs.")

    def test_it_runs_again_with_other_arguments(self, site: Site, new_page: NewPage) -> None:
        id = site.submit("shop_ship", parcel="old")
        site.await_state(id, "succeeded")
        page = new_page()
        page.goto(f"{site.url}{JOBS}{id}/change/")
        page.get_by_text("Run again, as a new job").click()
        page.get_by_label("Arguments").fill('{"parcel": "new"}')
        page.get_by_role("button", name="Run again").click()
        see(page, "#job", f"Runs {id} again.")
        see(page, "#job", 'parcel: "new"')


def test_a_schedule_says_when_it_ticks_and_whether_it_is_on(site: Site, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{site.url}{ADMIN}jobschedule/")
    row = page.locator("#result_list tr", has_text="shop_count")
    expect(row.locator(".field-state")).to_have_text("on")
    expect(row.locator(".field-next time")).to_have_text(re.compile(r"^\d{4}-\d\d-\d\d [\d:]{8}$"))
    row.locator("input").check()
    page.select_option("[name=action]", "pause")
    page.locator("button[name=index]").click()  # Go, or Run with Django 6
    expect(row.locator(".field-state")).to_have_text("paused")


def test_its_head_looks_like_that_of_every_page(site: Site, new_page: NewPage) -> None:
    page = new_page()
    looks = []
    for address in (f"{ADMIN}jobschedule/", JOBS):
        page.goto(f"{site.url}{address}")
        expect(page.locator(".breadcrumbs a")).to_have_count(2)
        looks.append(page.locator(".breadcrumbs").evaluate(LOOK))
    assert looks[0] == looks[1]


def test_bars_stand_on_one_line() -> None:
    drawn = bars([Run("", State.SUCCEEDED, 1.0), Run("", State.FAILED, 3.0)])
    places = re.findall(r'y="([\d.]+)" width="3" height="([\d.]+)"', drawn)
    assert [float(top) + float(height) for top, height in places] == [HEIGHT] * 2


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
def test_everybody_can_read_it(site: Site, new_page: NewPage, scheme: str, width: int) -> None:
    failed, done = site.submit("shop_refuse", text="no"), site.submit("shop_ship", parcel="a")
    site.await_state(failed, "failed")
    site.await_state(done, "succeeded")
    size: Any = {"width": width, "height": 800}
    page = new_page(color_scheme=scheme, viewport=size, bypass_csp=True)  # for axe itself
    for address in (
        *(ADMIN, JOBS, f"{JOBS}?state=failed&function=shop_refuse", f"{JOBS}errors/"),
        *(f"{JOBS}{failed}/change/", f"{JOBS}{done}/change/"),
        *(f"{JOBS}functions/", f"{JOBS}call/shop_ship/", f"{ADMIN}jobschedule/"),
    ):
        page.goto(f"{site.url}{address}")
        if "jobschedule" not in address:
            found = Axe().run(page).response["violations"]
            assert not found, (address, [(each["id"], each["nodes"][0]["html"]) for each in found])
        assert page.evaluate("document.documentElement.scrollWidth") <= width, address


def test_a_keyboard_is_enough(site: Site, new_page: NewPage) -> None:
    page = new_page()
    page.goto(f"{site.url}{JOBS}call/shop_ship/")
    page.focus("[name=argument-parcel]")
    page.keyboard.type("a")
    for _ in range(3):
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.value") == "foreground"
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.keyboard.press("Enter")
    see(page, "[data-part=end]", "Result")
