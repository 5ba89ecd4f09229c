"""URIs without user and password."""

from __future__ import annotations

import pytest

from gearmanny.helpers.redaction import address_of, without_credentials


@pytest.mark.parametrize(
    ("uri", "shown", "address"),
    [
        ("mongodb://me:hunter2@host:1/db?a=b", "mongodb://***@host:1/db?a=b", "host:1"),
        ("mongodb://me@host/", "mongodb://***@host/", "host"),
        ("mongodb://me:a@b@host/?x=1", "mongodb://***@host/?x=1", "host"),
        ("mongodb://me:a/b@host", "mongodb://***@host", "host"),
        ("mongodb://me:a?b@h1:1,h2:2?x=1", "mongodb://***@h1:1,h2:2?x=1", "h1:1,h2:2"),
        (
            "mongodb+srv://me:p@cluster.example/",
            "mongodb+srv://***@cluster.example/",
            "cluster.example",
        ),
        ("me:secret@host:1", "***@host:1", "host:1"),
        ("mongodb://host:1,[::1]:2/", "mongodb://host:1,[::1]:2/", "host:1,[::1]:2"),
        ("localhost", "localhost", "localhost"),
        ("mongodb://me:secret@", "mongodb://***@", ""),
    ],
)
def test_all_of_user_and_password_is_hidden_and_nothing_else(
    uri: str, shown: str, address: str
) -> None:
    assert without_credentials(uri) == shown
    assert address_of(uri) == address
