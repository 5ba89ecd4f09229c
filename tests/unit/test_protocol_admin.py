"""The text commands: answers in any number of pieces, and rows as gearmand 1.1.20 writes them."""

from __future__ import annotations

import pytest

from gearmanny.errors import JobServerError, ProtocolError
from gearmanny.protocol.admin import (
    AdminConnection,
    FunctionStatus,
    WorkerStatus,
    parse_status,
    parse_worker,
    read_rows,
)


def pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 1] for at in range(len(data))]


def test_a_command_is_one_line() -> None:
    assert AdminConnection().command("status") == b"status\r\n"


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (b"OK 1.1.20+ds\n", "1.1.20+ds"),
        (b"OK 1.1.20+ds\r\n", "1.1.20+ds"),
        (b"1.0.6\n", "1.0.6"),
        (b"OK WARNING\n", "WARNING"),
        (b"OK 15838\n", "15838"),
        (b"OK\r\n", ""),
    ],
)
def test_an_answer_of_one_line_is_read_in_any_pieces(answer: bytes, text: str) -> None:
    assert AdminConnection().receive_line(answer) == text
    connection = AdminConnection()
    assert [connection.receive_line(piece) for piece in pieces(answer)][-1] == text


@pytest.mark.parametrize("answer", [b"HTTP/1.1 400 Bad Request\r\n", b"\n", b"resize\t0\t0\t1\n"])
def test_a_line_that_is_no_answer_is_a_protocol_error(answer: bytes) -> None:
    with pytest.raises(ProtocolError, match="not the answer of a job server"):
        AdminConnection().receive_line(answer)


def test_half_a_line_is_no_answer_yet() -> None:
    connection = AdminConnection()
    assert [connection.receive_line(piece) for piece in pieces(b"OK 1.1.20")] == [None] * 9


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"ERR UNKNOWN_JOB\r\n", "UNKNOWN_JOB"),
        (
            b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n",
            "UNKNOWN_COMMAND (Unknown server command)",
        ),
        (
            b"ERR there are still connected workers or executing clients\r\n",
            "there are still connected workers or executing clients",
        ),
    ],
)
def test_a_refusal_raises_with_the_words_of_the_server(answer: bytes, words: str) -> None:
    for read in (AdminConnection.receive_line, AdminConnection.receive_rows):
        connection = AdminConnection()
        for piece in pieces(answer)[:-1]:
            assert read(connection, piece) is None
        with pytest.raises(JobServerError) as caught:
            read(connection, answer[-1:])
        assert words in str(caught.value)


def test_a_refusal_is_taken_apart() -> None:
    with pytest.raises(JobServerError) as caught:
        AdminConnection().receive_line(b"ERR UNKNOWN_COMMAND Unknown+server+command\r\n")
    assert (caught.value.code, caught.value.text) == ("UNKNOWN_COMMAND", "Unknown server command")


@pytest.mark.parametrize(
    ("answer", "rows"),
    [
        (b".\n", []),
        (b".\r\n", []),
        (b"f\t3\t1\t2\n.\n", ["f\t3\t1\t2"]),
        (b"f\t3\t1\t2\r\ng\t0\t0\t0\r\n.\r\n", ["f\t3\t1\t2", "g\t0\t0\t0"]),
        (b"\n-\nkey\n.\n", ["", "-", "key"]),  # unique keys, the first one empty
        (b"a.\nb\n.\n", ["a.", "b"]),
        (b"not UTF-8: \xff\t0\t0\t1\n.\n", ["not UTF-8: \ufffd\t0\t0\t1"]),
    ],
)
def test_rows_are_read_up_to_the_dot_in_any_pieces(answer: bytes, rows: list[str]) -> None:
    assert AdminConnection().receive_rows(answer) == rows
    connection = AdminConnection()
    *early, last = [connection.receive_rows(piece) for piece in pieces(answer)]
    assert early == [None] * len(early)
    assert last == rows


def test_a_function_whose_name_looks_like_a_refusal_is_a_row() -> None:
    rows = AdminConnection().receive_rows(b"ERR or\t0\t0\t1\n.\n")
    assert rows == ["ERR or\t0\t0\t1"]


def test_a_new_command_forgets_the_answer_before() -> None:
    connection = AdminConnection()
    connection.receive_rows(b"f\t3\t1")
    connection.command("version")
    assert connection.receive_line(b"OK 1.1.20\n") == "1.1.20"


@pytest.mark.parametrize(
    ("row", "status"),
    [
        ("f\t3\t1\t2", FunctionStatus("f", 3, 1, 2)),
        ("\t0\t0\t1", FunctionStatus("", 0, 0, 1)),
        ("my func\t0\t0\t1", FunctionStatus("my func", 0, 0, 1)),
        ("a\ttab\t4\t3\t2", FunctionStatus("a\ttab", 4, 3, 2)),
        ("f\t4294967295\t4294967295\t1", FunctionStatus("f", 0, 0, 1)),
        ("f\t4294967294\t0\t1", FunctionStatus("f", 0, 0, 1)),
        ("f\t2000000000\t0\t1", FunctionStatus("f", 2_000_000_000, 0, 1)),
    ],
)
def test_a_row_of_status_is_read(row: str, status: FunctionStatus) -> None:
    assert parse_status(row) == status


@pytest.mark.parametrize("row", ["", "f", "f\t1\t2", "f\t1\t2\tmany", "f\t1.5\t0\t0", "f 3 1 2"])
def test_what_is_no_row_of_status_is_a_protocol_error(row: str) -> None:
    with pytest.raises(ProtocolError, match="not a row of 'status'"):
        parse_status(row)


@pytest.mark.parametrize(
    ("row", "worker"),
    [
        (
            "40 127.0.0.1 wk 1 with space : f g",
            WorkerStatus(40, "127.0.0.1", "wk 1 with space", ("f", "g")),
        ),
        ("38 127.0.0.1 - :", WorkerStatus(38, "127.0.0.1", "-", ())),
        ("38 127.0.0.1 - : ", WorkerStatus(38, "127.0.0.1", "-", ())),
        ("7 ::1 gearmanny/0.1.0 : f", WorkerStatus(7, "::1", "gearmanny/0.1.0", ("f",))),
        ("7 ::1 a : b : f", WorkerStatus(7, "::1", "a : b", ("f",))),
        ("7 ::1 a : b :", WorkerStatus(7, "::1", "a : b", ())),
        ("7 10.0.0.1  : f", WorkerStatus(7, "10.0.0.1", "", ("f",))),
        ("7 10.0.0.1 - : f f", WorkerStatus(7, "10.0.0.1", "-", ("f", "f"))),
    ],
)
def test_a_row_of_workers_is_read(row: str, worker: WorkerStatus) -> None:
    assert parse_worker(row) == worker


@pytest.mark.parametrize("row", ["", "40", "40 127.0.0.1 -", "x 127.0.0.1 - : f", "40 : f"])
def test_what_is_no_row_of_workers_is_a_protocol_error(row: str) -> None:
    with pytest.raises(ProtocolError, match="not a row of 'workers'"):
        parse_worker(row)


def test_a_row_that_cannot_be_read_takes_no_other_along() -> None:
    rows = read_rows(parse_status, ["bad\x1b[2J", "f\t1\t0\t0", "worse", "g\t0\t0\t1"])
    assert [row.function for row in rows] == ["f", "g"]
    assert (rows.skipped, rows.skipped_count) == ("bad\\x1b[2J", 2)
    none_skipped = read_rows(parse_worker, ["38 127.0.0.1 - :"])
    assert (len(none_skipped), none_skipped.skipped, none_skipped.skipped_count) == (1, "", 0)


def test_what_a_server_says_is_printable() -> None:
    connection = AdminConnection()
    connection.command("version")
    assert connection.receive_line(b"OK 1\x1b]0;title\x07\n") == "1\\x1b]0;title\\x07"


@pytest.mark.parametrize("command", ["cancel job H:1\nshutdown", "a\rb", "a\0b"])
def test_a_command_of_several_lines_is_not_sent(command: str) -> None:
    with pytest.raises(ProtocolError, match="not a command"):
        AdminConnection().command(command)


def test_an_answer_without_an_end_is_a_protocol_error() -> None:
    for receive in (AdminConnection.receive_line, AdminConnection.receive_rows):
        with pytest.raises(ProtocolError, match="over the limit of 67108864 bytes"):
            receive(AdminConnection(), bytes(64 * 1024 * 1024 + 1))
