"""How a failure travels: what is told of an exception, and what is understood again."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gearmanny.errors import TaskError
from gearmanny.payload.failures import (
    cut,
    decode_failure,
    encode_failure,
    foreign_failure,
    message_of,
    shortened,
    type_name,
)
from gearmanny.payload.sizes import SMALLEST_MAX_PACKET, Oversized
from tests.support.memory import MIB, run_with_little_memory


class Custom(Exception):
    """Of this module, to see its dotted name."""


class Speechless(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Delegating(Exception):
    """Asks for its attributes elsewhere, as wrappers of responses do: for ever."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.response, name)


class NoArguments(Exception):
    args = None  # type: ignore[assignment]


class BrokenArguments(Exception):
    @property
    def args(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no arguments")


def described(payload: bytes) -> dict[str, Any]:
    content = json.loads(payload)
    assert list(content) == ["gearmanny_error"]
    failure: dict[str, Any] = content["gearmanny_error"]
    return failure


def raised(error: BaseException) -> BaseException:
    """The exception with a traceback, and a cause."""
    try:
        raise error from KeyError("the cause")
    except BaseException as caught:
        return caught


def test_the_object_is_as_documented() -> None:
    assert encode_failure(ValueError("not so", 5)) == (
        b'{"gearmanny_error": {"type": "builtins.ValueError", '
        b'"message": "(\'not so\', 5)", "args": ["not so", 5], "traceback": null}}'
    )


@pytest.mark.parametrize(
    ("error", "type_", "message", "args"),
    [
        (ValueError("not so"), "builtins.ValueError", "not so", ["not so"]),
        (KeyError("key"), "builtins.KeyError", "'key'", ["key"]),
        (Custom(), f"{__name__}.Custom", "", []),
        (Custom({"a": [1, None]}), f"{__name__}.Custom", "{'a': [1, None]}", [{"a": [1, None]}]),
        (ValueError("Grüße\n🎉\0"), "builtins.ValueError", "Grüße\n🎉\0", ["Grüße\n🎉\0"]),
        (SystemExit(3), "builtins.SystemExit", "3", [3]),
    ],
)
def test_an_exception_comes_back_as_a_task_error(
    error: BaseException, type_: str, message: str, args: list[object]
) -> None:
    failure = decode_failure("f", encode_failure(error))
    assert isinstance(failure, TaskError)
    assert (failure.function, failure.type, failure.message) == ("f", type_, message)
    assert failure.remote_args == args
    assert failure.traceback is None


def test_a_traceback_travels_only_when_it_may() -> None:
    error = raised(ValueError("not so"))
    assert described(encode_failure(error))["traceback"] is None
    failure = decode_failure("f", encode_failure(error, with_traceback=True))
    assert failure is not None
    assert failure.traceback is not None
    assert failure.traceback.startswith("KeyError: 'the cause'\n\nThe above exception was")
    assert failure.traceback.endswith("\nValueError: not so\n")


@pytest.mark.parametrize(
    "args", [(object(),), (b"bytes",), (float("nan"),), ({1, 2},), ({(1, 2): 3},)]
)
def test_arguments_that_are_not_json_are_left_out(args: tuple[object, ...]) -> None:
    failure = decode_failure("f", encode_failure(Custom(*args)))
    assert failure is not None
    assert failure.remote_args is None
    assert failure.message == str(Custom(*args))


def test_arguments_that_hold_themselves_are_left_out() -> None:
    loop: list[object] = []
    loop.append(loop)
    assert described(encode_failure(Custom(loop)))["args"] is None


@pytest.mark.parametrize(
    "with_traceback", [False, True], ids=["without traceback", "with traceback"]
)
@pytest.mark.parametrize(
    "error",
    [Speechless("a"), Delegating("a"), NoArguments("a"), BrokenArguments("a"), Custom(10**5000)],
    ids=lambda error: type(error).__name__,
)
def test_whatever_an_exception_does_its_failure_is_told(
    error: Exception, with_traceback: bool
) -> None:
    failure = decode_failure("f", encode_failure(raised(error), with_traceback))
    assert failure is not None
    assert failure.type == type_name(error)
    assert failure.message == message_of(error)


def test_a_text_that_cannot_be_had_is_replaced() -> None:
    assert message_of(Speechless()) == "<no message: str() raised builtins.RuntimeError>"


def test_a_lone_surrogate_does_not_silence_a_failure() -> None:
    payload = encode_failure(FileNotFoundError("no file caf\udce9"))
    failure = decode_failure("f", payload)
    assert failure is not None
    assert failure.message.startswith("no file caf")


def test_a_failure_is_json_to_the_strictest_reader() -> None:
    # Many parsers refuse an escaped lone surrogate, too: to them it is half a character.
    payload = encode_failure(FileNotFoundError("no file caf\udce9"), with_traceback=True)
    json.dumps(json.loads(payload), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"ValueError: not so",
        b'{"a": 1}',
        b'"gearmanny_error"',
        b'["gearmanny_error"]',
        b'{"gearmanny_error"',
        b'{"gearmanny_error": ',
        b'{"gearmanny_error": null}',
        b'{"gearmanny_error": "ValueError"}',
        b'{"gearmanny_error": []}',
        b'{"gearmanny_error": {}}',
        b'{"gearmanny_error": {"type": "a"}}',
        b'{"gearmanny_error": {"message": "a"}}',
        b'{"gearmanny_error": {"type": 5, "message": "a"}}',
        b'{"gearmanny_error": {"type": "a", "message": 5}}',
        b'{"gearmanny_error": {"type": "a", "message": ["b"]}}',
        b'{"gearmanny_error": {"type": "a", "message": null}}',
        b'{"gearmanny_errors": {"type": "a", "message": "b"}}',
        b'{"gearmanny_error": {"type": "a", "message": "\xff"}}',
        b'{"gearmanny_error": {"type": "a", "message": "b"}} and more',
        b'{"gearmanny_error": ' + b"[" * 100_000,
    ],
    ids=lambda payload: payload[:48].decode(errors="replace"),
)
def test_what_only_looks_like_a_failure_is_none(payload: bytes) -> None:
    assert decode_failure("f", payload) is None


def test_a_worker_in_another_language_may_leave_out_what_it_has_not() -> None:
    failure = decode_failure("f", b'{"gearmanny_error":{"type":"TypeError","message":"no"}}')
    assert failure is not None
    assert str(failure) == "f() failed on its worker: TypeError: no"
    assert (failure.remote_args, failure.traceback) == (None, None)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (b"out of stock", "f() failed on its worker: out of stock"),
        ("Grüße".encode(), "f() failed on its worker: Grüße"),
        (b"caf\xe9", "f() failed on its worker: caf\ufffd"),
        (b"", "f() failed, and its worker gave no reason. See the log of the worker."),
    ],
)
def test_the_text_of_another_library_becomes_the_message(payload: bytes, text: str) -> None:
    failure = foreign_failure("f", payload)
    assert failure.type is None
    assert str(failure) == text


def test_a_text_that_there_is_no_memory_to_encode_is_told_in_short() -> None:
    def encode() -> None:
        error = ValueError("x" * (20 * MIB))
        failure = decode_failure("f", encode_failure(error, with_traceback=True))
        assert failure is not None
        assert failure.type == "builtins.ValueError"
        assert failure.message == "<there is not enough memory to encode its text>"

    run_with_little_memory(64 * MIB, encode)


def test_a_failure_is_sent_whole_if_it_fits() -> None:
    failure = encode_failure(ValueError("x" * 100))
    assert shortened(failure, SMALLEST_MAX_PACKET) == failure


def test_a_failure_that_is_too_long_is_replaced_by_one_that_says_so() -> None:
    failure = shortened(encode_failure(ValueError("x" * 5000)), SMALLEST_MAX_PACKET)
    error = decode_failure("f", failure)
    assert error is not None
    assert error.type == "gearmanny.errors.EncodingError"
    assert error.message.startswith("The failure cannot be sent: its 10100 bytes exceed 4096")
    assert "Raise max_packet" in error.message


def test_a_text_of_another_library_that_was_discarded_is_told_by_its_size() -> None:
    error = foreign_failure("f", Oversized.of(9000, 8192))
    assert error.message.startswith("the reason was discarded: its 9000 bytes exceed max_packet")


def test_a_failure_that_is_kept_is_cut() -> None:
    short = encode_failure(ValueError("short")).decode()
    assert cut(short, 1000) == short
    long = encode_failure(ValueError("\N{SNAKE}" * 5000), with_traceback=True).decode()
    kept = cut(long, 2000)
    assert len(kept) <= 2000
    error = decode_failure("f", kept.encode())
    assert error is not None
    assert error.type == "builtins.ValueError"
    assert error.message.startswith("\N{SNAKE}" * 50)
    assert error.message.endswith("… (cut: it has 5,000 characters)")
    assert (error.traceback or "").endswith("\N{SNAKE}\n")


def test_of_a_long_traceback_the_end_is_kept() -> None:
    try:
        raise ValueError("short") from ValueError("long " * 1000)
    except ValueError as caught:
        long = encode_failure(caught, with_traceback=True).decode()
    error = decode_failure("f", cut(long, 2000).encode())
    assert error is not None
    assert error.message == "short"
    assert (error.traceback or "").endswith("ValueError: short\n")
