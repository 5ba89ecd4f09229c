"""`make screenshots`: writes docs/images/*.png, the pages of the explorer over the example project.

Each page is there three times: light, dark, and on a phone.
"""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

from playwright.sync_api import Browser, Page, expect, sync_playwright

from tools.processes import ROOT, end, find_program

IMAGES = ROOT / "docs" / "images"

LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 760}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 760}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}

LARGEST = 150_000
"""Bytes of one picture."""

PATIENCE = 30_000
"""Milliseconds that a page may take for anything."""


@contextlib.contextmanager
def running_demo() -> Iterator[tuple[str, str, str]]:
    """Runs the demo; yields its address, and the name and the password of its user."""
    demo = subprocess.Popen(
        [sys.executable, "example_project/demo.py"], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    try:
        assert demo.stdout is not None
        printed = ""
        for line in demo.stdout:
            printed += line
            found = re.search(r"explorer: (\S+)admin/gearmanny/ – user (\S+), password (\S+)", line)
            if found:
                yield found[1], found[2], found[3]
                return
        raise SystemExit(printed)
    finally:
        end(demo)


def make_jobs(page: Page, site: str) -> str:
    """Orders reports, of which one fails, and a survey; returns the address of the failed job."""
    page.goto(site)
    for package in ("json", "asyncio", "yet_to_come", "email"):
        page.fill("#report-package", package)
        page.get_by_role("button", name="Order a report").click()
        expect(page.locator("#reports")).to_contain_text(package)
    for package in ("xml", "stdlib"):
        page.wait_for_selector(f"#package [value={package}]", state="attached")
        page.select_option("#package", package)
        page.get_by_role("button", name="Start the survey").click()
        expect(page.locator("#status")).to_contain_text("Done: ")
    expect(page.locator("#reports")).to_contain_text("Failed after 3 attempts.")
    failed: str = page.get_by_role("link", name="yet_to_come").evaluate("link => link.href")
    return failed


def log_in(page: Page, explorer: str, user: str, password: str) -> None:
    """Logs in."""
    page.goto(explorer)
    page.fill("#id_username", user)
    page.fill("#id_password", password)
    page.click("[type=submit]")
    expect(page.locator("#now")).to_contain_text("corpus_survey")


def call(page: Page, explorer: str) -> None:
    """Calls a function, and waits until it is under way."""
    page.goto(f"{explorer}jobrecord/call/corpus_survey/")
    page.get_by_role("button", name="Call", exact=True).click()
    page.wait_for_function("() => document.querySelector('progress')?.position > 0.3")


def take(page: Page, name: str) -> None:
    """Takes a picture of the page as it is."""
    path = IMAGES / f"{name}.png"
    page.screenshot(path=path, animations="disabled")
    size = path.stat().st_size
    assert size < LARGEST, f"{path} is too large"


def take_all(browser: Browser, site: str, user: str, password: str) -> None:
    """Takes pictures of all pages, in each look."""
    explorer = f"{site}admin/gearmanny/"
    pages = {"now": explorer}
    pages |= {"jobs": f"{explorer}jobrecord/", "schedules": f"{explorer}jobschedule/"}
    for look, options in LOOKS.items():
        with contextlib.closing(browser.new_context(**options)) as context:
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            if "failed" not in pages:
                pages["failed"] = make_jobs(page, site)
            log_in(page, explorer, user, password)
            for name, address in pages.items():
                page.goto(address)
                take(page, f"{name}-{look}")
            call(page, explorer)
            take(page, f"call-{look}")


def main() -> None:
    """Takes the pictures."""
    IMAGES.mkdir(exist_ok=True)
    expect.set_options(timeout=PATIENCE)
    options = ["--disable-gpu", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    with running_demo() as (site, user, password), sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=find_program("chromium", "chromium"), args=options
        )
        with contextlib.closing(browser):
            take_all(browser, site, user, password)


if __name__ == "__main__":
    main()
