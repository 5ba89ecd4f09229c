"""The pools of a runner: which workers are in which one, and the options of their processes."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.running.options import RunnerOptions
from gearmanny.running.pools import DEFAULT, check_pools, pools_of, pools_to_run, restricted
from gearmanny.working.options import WorkerOptions

OPTIONS = RunnerOptions(worker=WorkerOptions(prefetch=2), max_memory=500, grace=60.0)


def test_without_pools_there_is_one_of_all_workers() -> None:
    assert check_pools(None) == check_pools({}) == {}
    [pool] = pools_to_run(["mail", "shop"], {}, OPTIONS, 3)
    assert (pool.name, pool.workers, pool.threads) == (DEFAULT, ("mail", "shop"), 3)
    assert pool.options.worker.pool == DEFAULT


def test_workers_that_no_pool_names_are_in_the_default_one() -> None:
    pools = {"reports": {"workers": ["reports"]}}
    assert pools_of(["mail", "reports", "shop"], pools) == {
        "mail": DEFAULT,
        "reports": "reports",
        "shop": DEFAULT,
    }


def test_a_pool_has_its_own_options_and_else_those_of_the_runner() -> None:
    pools = {
        "reports": {
            "workers": ["reports"],
            "threads": 2,
            "max_memory": None,
            "concurrency": 5,
            "grace": 3600,
        },
    }
    default, reports = pools_to_run(["mail", "reports"], pools, OPTIONS, 4)
    assert (default.threads, default.options.max_memory, default.options.grace) == (4, 500, 60)
    assert (reports.threads, reports.options.max_memory, reports.options.grace) == (2, None, 3600)
    assert (default.options.worker.concurrency, default.options.worker.prefetch) == (None, 2)
    assert (reports.options.worker.concurrency, reports.options.worker.prefetch) == (5, 2)
    assert reports.options.worker.pool == "reports"


def test_the_default_pool_has_options_too_and_may_have_no_workers() -> None:
    pools: dict[str, dict[str, Any]] = {"default": {"threads": 2}, "all": {"workers": ["mail"]}}
    assert [pool.name for pool in pools_to_run(["mail"], pools, OPTIONS, 1)] == ["all"]
    assert pools_to_run(["mail", "shop"], pools, OPTIONS, 1)[1].threads == 2


def test_pools_may_be_restricted_to_some_of_their_workers() -> None:
    pools: dict[str, dict[str, Any]] = {
        "default": {"threads": 2},
        "reports": {"workers": ["daily", "nightly"], "threads": 3},
        "mail": {"workers": ["mail"]},
    }
    assert restricted(pools, ["nightly", "shop"]) == {
        "default": {"threads": 2},
        "reports": {"workers": ["nightly"], "threads": 3},
    }


def test_a_worker_that_is_not_there_is_named_with_those_that_are() -> None:
    message = "the pool 'a' names a worker 'repors'. There are: mail, reports."
    with pytest.raises(InvalidOption, match=re.escape(message)):
        pools_of(["reports", "mail"], {"a": {"workers": ["repors"]}})


@pytest.mark.parametrize(
    ("pools", "message"),
    [
        (["reports"], "pools must be a dict, not list"),
        ({"reports": ["reports"]}, "the pool 'reports' must be a name, with a dict"),
        ({1: {}}, "the pool 1 must be a name"),
        ({"a": {"workers": ["a"], "processes": 2}}, "has no option 'processes'. There are workers"),
        ({"a": {"workers": ["a"], "threads": 0}}, "threads of the pool 'a' must be a whole number"),
        ({"a": {"workers": ["a"], "grace": "long"}}, "grace of the pool 'a' must be a number of s"),
        ({"a": {"workers": "a"}}, "workers of the pool 'a': they must be a list of names, not 'a'"),
        ({"a": {"workers": 5}}, "workers of the pool 'a': they must be a list of names, not 5"),
        ({"a": {"workers": []}}, "workers of the pool 'a': name one worker at least"),
        ({"a": {"workers": [5]}}, "workers of the pool 'a': name one worker at least"),
        ({"a": {"threads": 2}}, "the pool 'a' names no workers"),
        ({"default": {"workers": ["a"]}}, "'default' runs all workers that no other one names"),
        (
            {"a": {"workers": ["x", "y"]}, "b": {"workers": ["y"]}},
            "the worker 'y' is in the pool 'a', and in 'b'",
        ),
        ({"a": {"workers": ["x", "x"]}}, "the worker 'x' is in the pool 'a', and in 'a'"),
    ],
)
def test_invalid_pools_are_refused_with_the_reason(pools: Any, message: str) -> None:
    with pytest.raises(InvalidOption, match=re.escape(message)):
        check_pools(pools)
