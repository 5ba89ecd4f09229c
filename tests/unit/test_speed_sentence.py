"""The README's sentence on speed says what RESULTS.md says."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.sentence import speed, write_speed

ROOT = Path(__file__).parents[2]

RESULTS = """# Results

| | contestant | jobs/s | × C | × bare |
|---|---|---|---|---|
| round trips, one at a time | C | 1,925 (1,556 to 2,251) | 1.00 | 1.27 |
| round trips, one at a time | gearmanny | 2,118 (1,660 to 2,339) | 1.07 | 1.41 |

## Beside the peers, each with Redis

| | contestant | jobs/s | × gearmanny |
|---|---|---|---|
| round trips, one at a time | C | 1,045 (741 to 1,181) | 0.60 |
| round trips, one at a time | gearmanny | 1,875 (1,434 to 1,937) | 1.00 |
| round trips, one at a time | Celery | 203 (77 to 259) | 0.100 |
| round trips, one at a time | Huey | 326 (150 to 434) | 0.20 |
| round trips, one at a time | RQ | failed: it ended with 1 | |
| batch of 1,000 | gearmanny | 5,918 (4,100 to 8,200) | 1.00 |
| batch of 1,000 | Celery | 406 (363 to 476) | 0.050 |
| batch of 1,000 | Huey | 809 (610 to 849) | 0.125 |
| batch of 1,000 | RQ | failed: it ended with 1 | |
"""


def words(text: str) -> str:
    return " ".join(text.split())


def test_the_readme_says_what_was_measured() -> None:
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    assert speed(results) in words((ROOT / "README.md").read_text(encoding="utf-8"))


def test_the_sentence_has_the_peers_that_were_measured() -> None:
    assert speed(RESULTS) == (
        "One worker process, small JSON jobs, one run: single calls at 1.67 × the rate of "
        "libgearman in C, and at 5 to 10 × that of Celery and Huey; many at a time at 8 to 20 × "
        "theirs."
    )


def test_a_run_replaces_the_sentence_and_nothing_else(tmp_path: Path) -> None:
    results, readme = tmp_path / "RESULTS.md", tmp_path / "README.md"
    results.write_text(RESULTS, encoding="utf-8")
    readme.write_text("## Speed\n\nOne worker process and 1\nmillion.\n\nSee.\n", encoding="utf-8")
    write_speed(results, readme)
    before, sentence, after = readme.read_text(encoding="utf-8").split("\n\n")
    assert (before, after) == ("## Speed", "See.\n")
    assert words(sentence).startswith(speed(RESULTS))


def test_without_peers_the_readme_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results, readme = tmp_path / "RESULTS.md", tmp_path / "README.md"
    results.write_text(RESULTS.partition("## Beside")[0], encoding="utf-8")
    readme.write_text("One worker process.\n", encoding="utf-8")
    write_speed(results, readme)
    assert readme.read_text(encoding="utf-8") == "One worker process.\n"
    assert "README.md is left as it is" in capsys.readouterr().err
