"""The base of all clients: hosts, options, tasks by name, requests."""

from __future__ import annotations

import contextlib
import copy
import gc
import pickle
import weakref
from typing import Any

import pytest

from gearmanny.calling.again import Again
from gearmanny.calling.caller import Caller
from gearmanny.calling.exchange import Watcher
from gearmanny.calling.recording import Recorder
from gearmanny.calling.tracing import CallSpans
from gearmanny.errors import EncodingError, InvalidOption, InvalidTask
from gearmanny.net.hosts import Servers
from gearmanny.payload.headers import NewHeaders
from gearmanny.protocol.client import Request
from gearmanny.vocabulary.encoders import JSONDataEncoder
from tests.unit.steps import REQUEST, A, FakeLine, pool_of
from tests.unit.test_handover import FakeAside
from tests.unit.test_recording import FakeStore


class Recording(Caller):
    """A client that returns its calls."""

    _default_encoder = JSONDataEncoder

    def _reach(self, servers: Servers) -> None:
        self.reached = servers

    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Any:
        return function, args, kwargs

    def _recorder_for(self, store: Any, headers: NewHeaders | None) -> Recorder:
        aside: Any = FakeAside()
        return Recorder(store, self._servers, aside, headers)

    def _again(self, request: Request) -> tuple[Again, tuple[Watcher, ...]]:
        return Again(request, self._options.unique, pool_of(A)), ()


class Raw(Recording):
    _takes_payload = True


def requests(client: Recording, *payloads: Any) -> list[Any]:
    return list(client._requests("f", payloads, CallSpans(), lambda: 100.5))


def test_tasks_are_called_by_name() -> None:
    client = Recording(["a"])
    assert client.myworker_add(a=1) == ("myworker_add", (), {"a": 1})
    assert repr(client.myworker_add) == "<Gearman function myworker_add of <Recording of a:4730>>"
    assert Raw().upper(b"hi") == ("upper", (b"hi",), {})
    with pytest.raises(TypeError, match=r"write myworker_add\(name=value\)"):
        client.myworker_add(1)
    with pytest.raises(AttributeError, match="'Recording' object has no attribute '_repr_html_'"):
        client._repr_html_  # noqa: B018


def test_a_function_is_called_and_nothing_else() -> None:
    function = Recording(["a"]).myworker_add
    with pytest.raises(AttributeError, match="delay"):
        function.delay  # noqa: B018
    assert copy.copy(function)(a=1) == ("myworker_add", (), {"a": 1})


def test_a_copy_connects_anew_with_the_same_options() -> None:
    client = Recording(["a", "b"], timeout=5, max_packet=9000).using(priority="high")
    for twin in (copy.copy(client), pickle.loads(pickle.dumps(client))):
        assert repr(twin) == "<Recording of a:4730, b:4730>"
        assert twin._options == client._options
        assert (twin.reached.max_packet, twin.reached is client.reached) == (9000, False)
    assert client.using(timeout=1).reached is client.reached


def test_background_jobs_are_recorded_where_there_is_a_store() -> None:
    client = Recording(records=FakeStore())  # type: ignore[arg-type]
    later = client.using(background=True)
    assert not client._records_calls
    assert later._records_calls
    assert not later.using(recorded=False)._records_calls
    assert not later.using(background=False)._records_calls
    assert not Recording().using(background=True)._records_calls
    twin = copy.copy(later)
    assert twin._records_calls
    assert twin._recorder is not later._recorder
    assert twin._recorder is not None
    assert later._recorder is not None
    assert twin._recorder.store is later._recorder.store


def test_a_record_keeps_more_than_a_job_server() -> None:
    later = Recording(records=FakeStore()).using(background=True)  # type: ignore[arg-type]
    assert later.using(delay=1, priority="high", unique_waiting="k")
    assert later.using(unique="k", unique_waiting="w")
    for options in ({"recorded": False}, {"background": False}):
        with pytest.raises(InvalidOption, match="unique_waiting is a key of recorded jobs"):
            later.using(unique_waiting="k").using(**options)  # type: ignore[arg-type]
    with pytest.raises(InvalidOption, match="keeps no priority"):
        later.using(delay=1, priority="high", recorded=False)


def test_a_client_without_hosts_has_one_here() -> None:
    assert repr(Recording()) == "<Recording of localhost:4730>"


@pytest.mark.parametrize(
    "options",
    [
        {"connect_timeout": -1},
        {"connect_timeout": None},
        {"max_packet": 0},
        {"timeout": -1},
        {"tls": 5},
        {"records": "sqlite:///jobs.db"},
    ],
)
def test_invalid_arguments_are_refused(options: Any) -> None:
    with pytest.raises(InvalidOption):
        Recording(**options)


def test_what_is_for_one_call_is_not_for_many() -> None:
    with pytest.raises(InvalidOption, match="window must be a whole number"):
        Recording()._check_map("f", 0)
    with pytest.raises(InvalidOption, match="unique is for one call"):
        Recording().using(unique="key")._check_map("f", 1)
    with pytest.raises(InvalidTask):
        Recording()._check_map("a b", 1)
    Recording()._check_map("f", 1)


def test_many_jobs_are_submitted_where_they_are_recorded() -> None:
    with pytest.raises(InvalidOption, match=r"This client has no records: give it a store"):
        Recording()._check_many("f")
    client = Recording(records=FakeStore())  # type: ignore[arg-type]
    recorder, options = client.using(priority="high")._check_many("f")
    assert recorder is client._recorder
    assert (options.background, options.priority) == (True, "high")
    with pytest.raises(InvalidOption, match=r"records its jobs\. Use map\(\) for others"):
        client.using(recorded=False)._check_many("f")
    with pytest.raises(InvalidOption, match="unique is for one call"):
        client.using(unique="key")._check_many("f")


def test_what_may_run_twice_or_later_is_no_stream() -> None:
    for option in ({"background": True}, {"idempotent": True}):
        with pytest.raises(InvalidOption, match="A stream is read from beginning to end"):
            Recording().using(**option)._check_stream("f")  # type: ignore[arg-type]
    with pytest.raises(InvalidTask):
        Recording()._check_stream("a b")
    Recording()._check_stream("f")


def test_requests_carry_the_options() -> None:
    error = EncodingError("cannot encode this")
    assert requests(Recording(), b"{}", error) == [Request(b"f", b"{}"), error]
    keyed = Recording().using(unique="key", priority="low")
    assert requests(keyed, b"{}") == [Request(b"f", b"{}", b"f:key", False, "low")]
    (later,) = requests(Recording().using(background=True, delay=5, unique="key"), b"{}")
    assert (later.unique, later.background, later.at) == (b"b:key", True, 106)
    one, other = requests(Recording().using(background=True), b"", b"")
    assert len(one.unique) == len(other.unique) == 32
    assert one.unique != other.unique


def test_a_traced_call_has_a_span_whether_or_not_there_is_a_trace() -> None:
    pytest.importorskip("opentelemetry")
    spans = CallSpans()
    client = Recording().using(trace=True, background=True)
    (request,) = client._requests("f", [b"{}"], spans, lambda: 0.0)
    assert len(spans) == 1
    assert request.unique  # type: ignore[union-attr]


def test_what_cannot_be_encoded_is_told_at_its_place() -> None:
    one, error, three = Recording()._encode_all("f", [{"a": 1}, {"a": object()}, {"a": 3}])
    assert (one, three) == (b'{"a":1}', b'{"a":3}')
    assert isinstance(error, EncodingError)
    assert str(error).startswith("f(): JSONDataEncoder cannot encode the argument 'a', this object")
    assert isinstance(error.__cause__, TypeError)
    assert error.__traceback__ is error.__cause__.__traceback__ is None


def test_arguments_that_cannot_be_encoded_are_freed_without_the_collector() -> None:
    class Large:
        pass

    client, large = Recording(), Large()
    seen = weakref.ref(large)
    gc.disable()
    try:
        with contextlib.suppress(EncodingError):
            client._encode("f", {"a": large})
        (error,) = client._encode_all("f", [{"a": large}])
        del large
        assert seen() is None
    finally:
        gc.enable()
    assert isinstance(error, EncodingError)


def test_a_lack_of_memory_is_told_as_it_is() -> None:
    class Full(JSONDataEncoder):
        @classmethod
        def encode(cls, encodable_object: Any) -> bytes:
            raise MemoryError

    with pytest.raises(EncodingError, match=r"^Full cannot encode this dict: .* memory") as caught:
        Recording(data_encoder=Full)._encode("f", {"a": 1})
    assert caught.value.__context__ is None


def test_methods_of_other_libraries_are_no_functions() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'send'"):
        Recording().send  # noqa: B018


def test_an_argument_may_have_any_name() -> None:
    arguments = {"self": 1, "function": 2, "client": 3, "args": 4, "kwargs": 5}
    assert Recording().f(**arguments) == ("f", (), arguments)


def test_templates_do_not_call_functions() -> None:
    assert Recording().f.alters_data


def test_only_an_idempotent_job_that_could_be_encoded_is_sent_again() -> None:
    client, line = Recording(), FakeLine()
    again = client.using(idempotent=True)
    assert client._new_call(line, "f", REQUEST, True).again is None
    assert again._new_call(line, "f", REQUEST, True).again is not None
    assert again._new_call(line, "f", EncodingError("no"), True).again is None
