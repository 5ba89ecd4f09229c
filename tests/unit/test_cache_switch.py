"""Tests turn caches off, or on and empty."""

from __future__ import annotations

from gearmanny.helpers.switch import Switch


def test_it_is_set_until_the_block_ends() -> None:
    switch = Switch()
    with switch.set_to(False):
        assert not switch.is_on
        with switch.set_to(True):
            assert switch.is_on
        assert not switch.is_on
    assert switch.is_on


def test_a_database_is_cleaned_when_the_block_ends() -> None:
    switch = Switch()
    cleaned: list[str] = []
    with switch.isolated("outer"):
        switch.at_the_end(lambda: cleaned.append("outer"))
        with switch.isolated("inner"):
            assert switch.database == "inner"
            switch.at_the_end(lambda: cleaned.append("inner"))
        assert (switch.database, cleaned) == ("outer", ["inner"])
    assert (switch.database, cleaned) == (None, ["inner", "outer"])
