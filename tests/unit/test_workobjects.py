"""The work objects of both sides show the names that docs/calls.md promises, and no others."""

from __future__ import annotations

import pickle
import re
from pathlib import Path

import pytest

from gearmanny.aio import AioWorkResult
from gearmanny.calling.work import Work
from gearmanny.protocol.client import Created
from gearmanny.results import WorkResult
from tests.unit.steps import FakeLine, call_of
from tests.unit.test_recording import FakeStore, recorded

PAGE = Path(__file__).parents[2] / "docs" / "calls.md"


@pytest.mark.parametrize("kind", [WorkResult, AioWorkResult])
def test_they_show_what_is_promised(kind: type) -> None:
    section = PAGE.read_text(encoding="utf-8").partition("## Work objects")[2].partition("\n## ")[0]
    promised = re.findall(r"^\| `(\w+)", section, re.MULTILINE)
    assert [name for name in dir(kind) if not name.startswith("_")] == sorted(promised)
    assert not hasattr(kind.__new__(kind), "__dict__")


def test_they_name_their_job() -> None:
    work: Work[FakeLine] = Work()
    work._call = call_of()
    assert (work.function, work.handle, work.unique) == ("f", None, "unique")
    work._call.take(Created(b"H:1"))
    assert work.handle == b"H:1"
    assert repr(work) == "<Work f H:1 (waiting)>"


@pytest.mark.parametrize("kind", [WorkResult, AioWorkResult])
def test_one_with_a_record_can_be_pickled(kind: type[Work[FakeLine]]) -> None:
    work = kind.__new__(kind)
    work._call = recorded(FakeStore())
    twin = pickle.loads(pickle.dumps(work))
    assert (type(twin), repr(twin), twin.id) == (kind, repr(work), work.id)
    assert twin._recorded.id == work.id


def test_another_one_cannot_be_pickled() -> None:
    work: Work[FakeLine] = Work()
    work._call = call_of()
    with pytest.raises(TypeError, match=r"can be pickled, and f\(\) has no record"):
        pickle.dumps(work)


def test_one_is_found_again_for_threads_or_for_an_event_loop() -> None:
    work: Work[FakeLine] = Work()
    work._call = recorded(FakeStore())
    with pytest.raises(NotImplementedError):
        pickle.loads(pickle.dumps(work))
