"""Methods of other libraries, which are not taken for tasks."""

from __future__ import annotations

import pytest

from gearmanny.calling.misnomers import INSTEAD, no_such_method
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
