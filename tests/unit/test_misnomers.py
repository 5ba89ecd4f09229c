"""Methods of other libraries, which are not taken for tasks."""

from __future__ import annotations

import pytest

from gearmanny.calling.misnomers import INSTEAD, no_such_attribute, no_such_method
from gearmanny.calling.options import OptionsOfUsing


@pytest.mark.parametrize("name", sorted(INSTEAD))
def test_the_error_names_the_right_way(name: str) -> None:
    assert no_such_method("SimpleClient", name) == (
        f"'SimpleClient' object has no attribute {name!r}. {INSTEAD[name]}. For a Gearman function "
        f"that is named so, write client.call({name!r}, …)."
    )


def test_every_option_of_a_call_is_explained() -> None:
    assert INSTEAD.keys() >= OptionsOfUsing.__annotations__.keys()


def test_a_delay_may_be_a_method_or_an_option() -> None:
    assert "using(background=True).<function>(…)" in INSTEAD["delay"]
    assert "using(background=True, delay=seconds)" in INSTEAD["delay"]


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("apply_async", ". For a job in the background, write client.using(background=True).f(…)."),
        ("submit", ". Write client.submit('f', …)."),
        ("using", ". Write client.using(…).f(…)."),
        ("other", ""),
    ],
)
def test_a_function_has_no_methods_either(name: str, advice: str) -> None:
    assert no_such_attribute("f", name) == (
        f"the Gearman function f of a client has no attribute {name!r}{advice}"
    )
