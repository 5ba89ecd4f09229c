"""The exceptions: their tree, what they keep, and what they say."""

from __future__ import annotations

import builtins
import copy
import pickle
import re

import pytest

from gearmanny import errors
from gearmanny.errors import (
    EncodingError,
    GearmanException,
    InvalidArguments,
    InvalidOption,
    InvalidTask,
    InvalidTransition,
    JobCancelled,
    JobServerError,
    JobServerLost,
    JobServerUnavailable,
    ProtocolError,
    RejectJob,
    StoreUnavailable,
    TaskError,
    TaskTimeLimitExceeded,
    TaskTimeout,
    UnknownJob,
    WorkerLost,
    printable,
)

LEAVES: list[BaseException] = [
    TaskError("f", "builtins.ValueError", "not so", ["not so", 1], "Traceback …"),
    TaskError("f", None, "exit status 1"),
    TaskError("f"),
    JobCancelled("f"),
    JobCancelled("f", "It went back to the queue."),
    TaskTimeout("f", 2.5, "No worker offers it."),
    TaskTimeout("f", 60.0),
    TaskTimeLimitExceeded(),
    TaskTimeLimitExceeded("f", 2.5),
    TaskTimeLimitExceeded("f", 2.5, 10.0),
    JobServerUnavailable({"one:4730": "refused", "two:4730": "no answer"}),
    JobServerLost("one:4730", "closed by the server"),
    JobServerError("QUEUE_ERROR", "Job queue is full"),
    ProtocolError("no job server"),
    WorkerLost("f", "was ended by SIGSEGV (3 times)"),
    EncodingError("not JSON"),
    RejectJob("not today"),
    StoreUnavailable("The store does not answer"),
    UnknownJob("There is no record of it"),
    InvalidTransition(None, "claimed"),
    InvalidArguments("missing"),
    InvalidTask("no name"),
    InvalidOption("not a number"),
]

leaves = pytest.mark.parametrize("leaf", LEAVES, ids=lambda leaf: type(leaf).__name__)


def drawn_tree() -> dict[str, tuple[str, ...]]:
    """Reads the tree of the module's docstring: the bases of each class, by name."""
    assert errors.__doc__ is not None
    tree: dict[str, tuple[str, ...]] = {}
    root = ""
    for line in errors.__doc__.splitlines():
        if found := re.match(r" +(\w+)$", line):
            root = found[1]
        leaf = re.match(r" +[├└]── (\w+) .*?(?:\(([\w, ]+)\))?$", line)
        if leaf:
            others = (leaf[2] or "").replace(",", "").split()
            tree[leaf[1]] = (*filter(None, [root]), *others)
    return tree


def test_the_tree_in_the_docstring_is_the_real_one() -> None:
    real = {
        name: tuple(base.__name__ for base in value.__bases__)
        for name, value in vars(errors).items()
        if isinstance(value, type)
        and issubclass(value, BaseException)
        and value is not GearmanException
    }
    assert drawn_tree() == real


def test_what_is_drawn_is_what_is_exported() -> None:
    assert {*drawn_tree(), "GearmanException"} == set(errors.__all__)


def test_every_leaf_is_tried_here() -> None:
    assert {type(leaf).__name__ for leaf in LEAVES} == set(drawn_tree())


@pytest.mark.parametrize("name", sorted(drawn_tree()))
def test_every_error_can_be_caught_by_its_root_and_by_its_builtin(name: str) -> None:
    error = getattr(errors, name)
    root, *others = drawn_tree()[name]
    assert issubclass(error, getattr(errors, root, None) or getattr(builtins, root))
    for base in others:
        assert issubclass(error, getattr(builtins, base))


def test_what_catches_the_errors_of_a_line_does_not_catch_the_limit_of_the_task() -> None:
    assert not issubclass(TaskTimeLimitExceeded, Exception)


def test_retrying_on_connection_errors_never_runs_a_job_twice() -> None:
    assert issubclass(JobServerUnavailable, ConnectionError)
    assert not issubclass(JobServerLost, OSError)


@leaves
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_leaf_survives_pickling(leaf: BaseException, protocol: int) -> None:
    twin = pickle.loads(pickle.dumps(leaf, protocol))
    assert type(twin) is type(leaf)
    assert vars(twin) == vars(leaf)
    assert str(twin) == str(leaf)


@leaves
@pytest.mark.parametrize("copier", [copy.copy, copy.deepcopy])
def test_every_leaf_survives_copying(leaf: BaseException, copier: object) -> None:
    twin = copier(leaf)  # type: ignore[operator]
    assert type(twin) is type(leaf)
    assert vars(twin) == vars(leaf)
    assert str(twin) == str(leaf)


@leaves
def test_every_leaf_has_a_text(leaf: BaseException) -> None:
    assert str(leaf).strip() == str(leaf) != ""


@leaves
def test_a_note_survives_pickling(leaf: BaseException) -> None:
    noted = copy.copy(leaf)
    noted.add_note("while the report was made")
    twin = pickle.loads(pickle.dumps(noted))
    assert twin.__notes__ == ["while the report was made"]


def test_a_task_error_says_which_task_failed_and_why() -> None:
    error = TaskError("shop_buy", "builtins.ValueError", "sold out", ["sold out"], "Traceback …")
    assert str(error) == "shop_buy() failed on its worker: builtins.ValueError: sold out"
    assert (error.type, error.message, error.remote_args, error.traceback) == (
        "builtins.ValueError",
        "sold out",
        ["sold out"],
        "Traceback …",
    )


@pytest.mark.parametrize(
    ("type_", "message", "cause"),
    [
        ("builtins.KeyError", "", "builtins.KeyError"),
        (None, "exit status 1", "exit status 1"),
    ],
)
def test_a_task_error_leaves_out_what_it_does_not_know(
    type_: str | None, message: str, cause: str
) -> None:
    assert str(TaskError("f", type_, message)) == f"f() failed on its worker: {cause}"


def test_a_failure_without_a_word_points_to_the_log() -> None:
    assert str(TaskError("f")) == (
        "f() failed, and its worker gave no reason. See the log of the worker."
    )


def test_a_timeout_says_how_long_was_waited_and_what_the_server_said() -> None:
    error = TaskTimeout("f", 2.5, "No worker offers it.")
    assert str(error) == "No answer from f() within 2.5 s. No worker offers it."
    assert str(TaskTimeout("f", 60.0)) == "No answer from f() within 60 s."


def test_an_unavailable_job_server_is_named_with_its_reason() -> None:
    error = JobServerUnavailable({"one:4730": "refused", "two:4730": "no answer"})
    assert str(error) == (
        "No Gearman job server reached: one:4730 (refused); two:4730 (no answer). "
        "Is gearmand running there?"
    )


def test_a_lost_job_server_leaves_the_decision_to_the_caller() -> None:
    assert str(JobServerLost("one:4730", "reset by peer")) == (
        "The connection to the job server one:4730 was lost (reset by peer). "
        "The jobs in flight may or may not have run. They were not sent again: "
        "using(idempotent=True) allows that."
    )


def test_a_lost_worker_says_how_the_processes_ended() -> None:
    assert str(WorkerLost("f", "was ended by SIGSEGV (3 times)")) == (
        "f() was not run again: a process that ran this job was ended by SIGSEGV (3 times)."
    )


def test_a_refusal_carries_the_words_of_the_server() -> None:
    error = JobServerError("QUEUE_ERROR", "Job queue is full")
    assert str(error) == "The job server refused: QUEUE_ERROR (Job queue is full)"


def test_a_refusal_without_text_has_no_empty_parentheses() -> None:
    assert "(" not in str(JobServerError("UNKNOWN_JOB", ""))


def test_what_a_stranger_said_stands_on_one_line() -> None:
    error = JobServerError("CODE\n", "a\nb\x1b[2Jc\u2028" + "x" * 1000)
    text = str(error)
    assert text.isprintable()
    assert r"CODE\n (a\nb\x1b[2Jc\u2028xxx" in text
    assert "x… (1009 characters)" in text
    assert len(text) < 600
    assert error.text.endswith("x" * 1000)
    assert printable("plain ünïcode") == "plain ünïcode"
