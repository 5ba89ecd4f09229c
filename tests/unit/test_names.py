"""The unique ids that are made of a user's keys."""

from __future__ import annotations

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.names import LONGEST_KEY, check_key, unique_of_key


def test_jobs_in_the_foreground_and_in_the_background_share_no_id() -> None:
    assert unique_of_key("a", background=False) != unique_of_key("a", background=True)


@pytest.mark.parametrize("key", ["a", "ü", "x" * LONGEST_KEY])
def test_a_key_is_a_text_that_fits(key: str) -> None:
    check_key(key)


@pytest.mark.parametrize("key", ["", None, 5, "x" * (LONGEST_KEY + 1), "ü" * LONGEST_KEY, "a\n"])
def test_anything_else_is_no_key(key: object) -> None:
    with pytest.raises(InvalidOption, match="unique"):
        check_key(key)
