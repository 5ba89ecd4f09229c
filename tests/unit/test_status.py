"""What is known of job servers, functions and processes: merged, judged, and as text."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from gearmanny.commands.conditions import parse_condition
from gearmanny.commands.overview import Overview, Records, Row, Server, as_json, overview_of
from gearmanny.commands.tables import age, tables, traps
from gearmanny.errors import InvalidOption
from gearmanny.protocol.admin import FunctionStatus
from gearmanny.protocol.versions import TRAPS
from gearmanny.records.values import Count, Process

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)

ONE = Server("one:4730", "1.1.20", functions=[FunctionStatus("mail_send", 105, 2, 3)])
TWO = Server(
    "two:4730",
    "gearmanny 0.1.0",
    functions=[FunctionStatus("mail_send", 1, 1, 3), FunctionStatus("report", 4, 0, 0)],
)
AWAY = Server("three:4730", error="connection refused")

RECORDS = Records(
    [Count("mail_send", 40, 5, 2, 1, 95.0), Count("nightly", 1, 0, 0, 0, 9000.0)],
    [
        Process(
            *("id", "host", 17, "default", "runner", "{}", "mail-17@host"),
            started=NOW - timedelta(days=3),
            beat=NOW,
        ),
        Process(*("id", "host", 18, "", "", "{}", ""), started=NOW, beat=NOW),
    ],
)


def text(overview: Overview, *, width: int | None = None, color: bool = False) -> str:
    return "\n".join(tables(overview, NOW, width=width, color=color))


class TestOverview:
    def test_functions_are_those_of_all_servers_together(self) -> None:
        assert overview_of([ONE, TWO], None).rows == [
            Row("mail_send", waiting=103, running=3, workers=6),
            Row("report", waiting=4, abandoned=True),
        ]

    def test_one_that_waits_at_a_server_without_a_worker_is_abandoned(self) -> None:
        three = Server("three", "1.1.20", functions=[FunctionStatus("mail_send", 1, 0, 0)])
        (row,) = overview_of([ONE, three], None).rows
        assert row.abandoned

    def test_so_is_one_of_this_project_and_one_with_records_that_nobody_offers(self) -> None:
        rows = overview_of([ONE, AWAY], RECORDS, ["mail_send", "shop_price"]).rows
        assert [(row.function, row.abandoned) for row in rows] == [
            ("mail_send", False),
            ("nightly", True),
            ("shop_price", True),
        ]

    def test_where_no_server_answers_nobody_knows(self) -> None:
        rows = overview_of([AWAY], RECORDS, ["shop_price"]).rows
        assert not any(row.abandoned for row in rows)

    def test_what_is_missing_is_known(self) -> None:
        assert overview_of([ONE, TWO], RECORDS).is_whole
        assert overview_of([ONE], None).is_whole
        assert not overview_of([ONE, AWAY], None).is_whole
        assert not overview_of([ONE], Records(error="away")).is_whole

    def test_is_json(self) -> None:
        found = json.loads(json.dumps(as_json(overview_of([TWO, AWAY], RECORDS), NOW)))
        assert found["time"] == "2026-11-26T12:00:00+00:00"
        assert found["servers"][1] == {
            "host": "three:4730",
            "version": None,
            "error": "connection refused",
            "traps": [],
            "functions": [],
        }
        assert found["servers"][0]["functions"][1] == {
            "function": "report",
            "waiting": 4,
            "running": 0,
            "workers": 0,
        }
        assert found["functions"][0] == {
            "function": "mail_send",
            "waiting": 0,
            "running": 1,
            "workers": 3,
            "recorded": 40,
            "scheduled": 5,
            "failed": 1,
            "oldest": 95.0,
            "abandoned": False,
        }
        assert found["records"]["error"] is None
        assert found["records"]["processes"][0] == {
            "id": "id",
            "host": "host",
            "pid": 17,
            "pool": "default",
            "name": "mail-17@host",
            "started": "2026-11-23T12:00:00+00:00",
        }

    def test_without_records_json_has_none(self) -> None:
        found = as_json(overview_of([ONE], None), NOW)
        assert found["records"] is None
        assert list(found["functions"][0]) == [
            *("function", "waiting", "running", "workers", "abandoned")
        ]
        assert len(found["servers"][0]["traps"]) > 3


class TestConditions:
    @pytest.mark.parametrize(
        ("condition", "met"),
        [
            ("waiting>100", ["mail_send has 103"]),
            ("waiting > 103", []),
            ("waiting>=103", ["mail_send has 103"]),
            ("waiting<=4", ["report has 4", "nightly has 0"]),
            ("report:waiting==4", ["report has 4"]),
            ("report:waiting=4", ["report has 4"]),
            ("mail_send:waiting!=103", []),
            (" report : waiting<4.5", []),
            ("report:waiting<4.5", ["report has 4"]),
            ("unknown:workers<1", ["unknown has 0"]),
            ("unknown:waiting>0", []),
            ("oldest>1800", ["nightly has 9000"]),
            ("mail_send:failed>0", ["mail_send has 1"]),
            ("recorded>30", ["mail_send has 40"]),
            ("scheduled<1", ["nightly has 0", "report has 0"]),
        ],
    )
    def test_holds_for_any_function_or_for_the_one_that_is_named(
        self, condition: str, met: list[str]
    ) -> None:
        if condition.startswith(" "):
            condition = condition.replace(" : ", ":")
            met = ["report has 4"]
        found = parse_condition(condition).met_by(overview_of([ONE, TWO], RECORDS))
        assert sorted(found) == sorted(f"{condition.strip()}: {each}" for each in met)

    def test_the_name_of_a_function_may_have_colons(self) -> None:
        assert parse_condition("a:b:waiting>1").function == "a:b"

    def test_where_there_is_no_function_nobody_offers_any(self) -> None:
        empty = overview_of([Server("one", "1.1.20")], None)
        assert parse_condition("workers<1").met_by(empty) == ["workers<1: any function has 0"]
        assert parse_condition("waiting>0").met_by(empty) == []

    @pytest.mark.parametrize(
        "text",
        [
            *("", "waiting", "waiting>", ">1", "wating>1", "waiting~1", "waiting>x", "waiting!1"),
            *("waiting>-1", "waiting>1e9", "waiting>1;", ":waiting>1", "waiting>1 or failed>1"),
        ],
    )
    def test_nonsense_is_refused_with_the_grammar(self, text: str) -> None:
        with pytest.raises(InvalidOption, match="is not a condition"):
            parse_condition(text)

    def test_one_about_records_needs_some(self) -> None:
        parse_condition("waiting>1").check_without_records()
        with pytest.raises(InvalidOption, match="'failed>1' is about recorded jobs"):
            parse_condition("failed>1").check_without_records()


class TestTables:
    def test_of_functions(self) -> None:
        assert text(overview_of([ONE, TWO, AWAY], None)) == (
            "one:4730: 1.1.20\n"
            "two:4730: gearmanny 0.1.0\n"
            "three:4730: connection refused\n"
            "\n"
            "  FUNCTION   WAITING  RUNNING  WORKERS\n"
            "  mail_send      103        3        6\n"
            "! report           4        0        0\n"
            "! no worker offers it"
        )

    def test_of_records_and_processes(self) -> None:
        assert text(overview_of([ONE], RECORDS)).partition("\n\n")[2] == (
            "  FUNCTION   WAITING  RUNNING  WORKERS\n"
            "  mail_send      103        2        3\n"
            "! nightly          0        0        0\n"
            "! no worker offers it\n"
            "\n"
            "  RECORDS OF  RECORDED  SCHEDULED  FAILED  OLDEST\n"
            "  mail_send         40          5       1     95s\n"
            "! nightly            1          0       0      2h\n"
            "\n"
            "  PROCESS          POOL  UP\n"
            "  mail-17@host  default  3d\n"
            "  18@host                0s"
        )

    def test_of_nothing(self) -> None:
        assert text(overview_of([Server("one", "2.0")], None)) == "one: 2.0\n\nNo functions."
        lines = text(overview_of([ONE], Records(error="The store does not answer")))
        assert lines.endswith("\n\nrecords: The store does not answer")
        assert text(overview_of([ONE], Records())).endswith("\n\nNo recorded jobs.")

    @pytest.mark.parametrize("width", [20, 50, 80])
    def test_fit_into_a_terminal(self, width: int) -> None:
        name = "the_function_of_a_worker_with_a_very_long_name_that_ends_in_send"
        server = Server("one", "2.0", functions=[FunctionStatus(name, 1, 0, 1)])
        *_, line = text(overview_of([server], None), width=width).splitlines()
        assert len(line) <= max(width, 40)
        shown = line.split()[0]
        if width < 80:
            assert "…" in shown
            before, _, after = shown.partition("…")
            assert name.startswith(before)
            assert name.endswith(after)

    def test_have_colors_only_where_they_are_wanted(self) -> None:
        overview = overview_of([ONE, TWO, AWAY], RECORDS)
        assert "\033" not in text(overview)
        colored = text(overview, color=True).splitlines()
        assert [line[5:14] for line in colored if line.startswith("\033[31m")] == [
            *("three:473", "! nightly", "! report ", "! nightly")
        ]
        assert all(line.endswith("\033[0m") for line in colored if "\033" in line)

    def test_show_no_control_characters(self) -> None:
        server = Server("one", "2.0", functions=[FunctionStatus("a\033[2Jb", 1, 0, 1)])
        assert "a\\x1b[2Jb" in text(overview_of([server], None))

    def test_of_traps_are_shown_once_for_a_version(self) -> None:
        lines = list(traps([ONE, ONE, TWO, AWAY], None))
        assert lines[:2] == ["", "Known traps of gearmand 1.1.20:"]
        assert len(lines) == 2 + len([trap for trap in TRAPS if trap.since <= (1, 1, 20)])
        assert all(line.startswith("  trap ") for line in lines[2:])
        assert max(len(line) for line in traps([ONE], 80)) <= 80

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [(-1, "0s"), (0.4, "0s"), (119, "119s"), (120, "2m"), (7200, "2h"), (86400 * 9.5, "9d")],
    )
    def test_have_short_times(self, seconds: float, said: str) -> None:
        assert age(seconds) == said
