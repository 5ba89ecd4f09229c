"""Ids of records, and how they travel."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from gearmanny.errors import InvalidOption
from gearmanny.payload.names import LONGEST_UNIQUE
from gearmanny.records.ids import (
    Travelling,
    canonical,
    first_id_of,
    new_id,
    parse_unique,
    running_id,
    running_unique,
)

ID = "0198c0de-0000-7000-8000-000000000001"


def test_an_id_is_a_uuid_of_version_7_that_begins_with_the_time() -> None:
    before = time.time_ns() // 1_000_000
    uuids = [UUID(new_id()) for _ in range(1000)]
    after = time.time_ns() // 1_000_000
    assert len(set(uuids)) == 1000
    assert {(uuid.version, uuid.variant) for uuid in uuids} == {(7, "specified in RFC 4122")}
    assert all(before <= uuid.int >> 80 <= after for uuid in uuids)


def test_an_id_has_one_way_to_be_written() -> None:
    assert canonical(ID) == canonical(UUID(ID)) == canonical(ID.replace("-", "").upper()) == ID


@pytest.mark.parametrize(
    ("unique", "id"),
    [
        ("", None),
        ("key", None),
        ("j:odd", None),
        ("j:\udcff", None),
        (bytes(Travelling("0123abcd", ID, 2)).decode(), ID),
    ],
)
def test_the_job_that_runs_here_is_known_by_its_unique_id(unique: str, id: str | None) -> None:
    token = running_unique.set(unique)
    assert running_id() == id
    running_unique.reset(token)


def test_the_first_id_of_a_moment_is_that_of_its_millisecond() -> None:
    moment = datetime(2026, 11, 26, 7, 0, 0, 1999, UTC)
    assert first_id_of(moment) == "01a216a7-6981-0000-0000-000000000000"
    before, id = datetime.now(UTC), new_id()
    assert first_id_of(before) <= id < first_id_of(before + timedelta(minutes=1))
    assert first_id_of(datetime(1960, 1, 1, tzinfo=UTC)) == str(UUID(int=0))


@pytest.mark.parametrize("id", ["", "1", ID + "0", None, 7, "\0", "'; DROP TABLE"])
def test_what_is_no_id_is_refused(id: object) -> None:
    with pytest.raises(InvalidOption, match="UUID"):
        canonical(id)


def test_a_recorded_job_travels_under_its_id_and_the_number_of_the_hand_over() -> None:
    travelling = Travelling("0123abcd", ID, 2**31 - 1)
    unique = bytes(travelling)
    assert unique == b"j:0123abcd:0198c0de000070008000000000000001.2147483647"
    assert len(unique) <= LONGEST_UNIQUE
    assert parse_unique(unique) == travelling


@pytest.mark.parametrize(
    "unique",
    [
        b"",
        b"j:",
        b"-",
        b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        b"j:0123abcd:0198c0de000070008000000000000001",
        b"j:0123abcd:0198c0de000070008000000000000001.1\n",
        b"J:0123abcd:0198c0de000070008000000000000001.1",
        b"j:0123abcd:0198c0de-0000-7000-8000-000000000001.1",
    ],
)
def test_other_unique_ids_are_those_of_other_jobs(unique: bytes) -> None:
    assert parse_unique(unique) is None
