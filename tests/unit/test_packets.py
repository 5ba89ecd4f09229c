"""Packing and parsing: literal bytes both ways, every way of cutting them, and hostile ones."""

from __future__ import annotations

import random
import struct
import tracemalloc
from collections.abc import Iterable, Iterator

import pytest

from gearmanny.errors import ProtocolError
from gearmanny.payload.sizes import Oversized
from gearmanny.protocol.incoming import Packet
from gearmanny.protocol.packets import PacketType, pack
from gearmanny.protocol.parser import PacketParser
from tests.support.memory import MIB, run_with_little_memory
from tests.unit.wire import response

WRITTEN = [
    (pack(PacketType.PRE_SLEEP), b"\0REQ\0\0\0\x04\0\0\0\0"),
    (pack(PacketType.GRAB_JOB_UNIQ), b"\0REQ\0\0\0\x1e\0\0\0\0"),
    (pack(PacketType.CAN_DO, b"myworker_add"), b"\0REQ\0\0\0\x01\0\0\0\x0cmyworker_add"),
    (pack(PacketType.OPTION_REQ, b"exceptions"), b"\0REQ\0\0\0\x1a\0\0\0\x0aexceptions"),
    (pack(PacketType.WORK_FAIL, b"H:vm:1"), b"\0REQ\0\0\0\x0e\0\0\0\x06H:vm:1"),
    (
        pack(PacketType.WORK_STATUS, b"H:vm:1", b"3", b"10"),
        b"\0REQ\0\0\0\x0c\0\0\0\x0bH:vm:1\x003\x0010",
    ),
    (
        pack(PacketType.SUBMIT_JOB, b"f", b"", b'{"a":1}'),
        b'\0REQ\0\0\0\x07\0\0\0\x0af\0\0{"a":1}',
    ),
    (
        pack(PacketType.WORK_COMPLETE, b"H:vm:1", b"a\0b\0"),
        b"\0REQ\0\0\0\x0d\0\0\0\x0bH:vm:1\0a\0b\0",
    ),
]

READ = [
    (b"\0RES\0\0\0\x06\0\0\0\0", (PacketType.NOOP, [b""])),
    (b"\0RES\0\0\0\x0a\0\0\0\0", (PacketType.NO_JOB, [b""])),
    (b"\0RES\0\0\0\x08\0\0\0\x06H:vm:1", (PacketType.JOB_CREATED, [b"H:vm:1"])),
    (b"\0RES\0\0\0\x1b\0\0\0\x0aexceptions", (PacketType.OPTION_RES, [b"exceptions"])),
    (b"\0RES\0\0\0\x0e\0\0\0\x07H:vm:1\0", (PacketType.WORK_FAIL, [b"H:vm:1\0"])),
    (
        b"\0RES\0\0\0\x0d\0\0\0\x0bH:vm:1\0a\0b\0",
        (PacketType.WORK_COMPLETE, [b"H:vm:1", b"a\0b\0"]),
    ),
    (b"\0RES\0\0\0\x0d\0\0\0\x07H:vm:1\0", (PacketType.WORK_COMPLETE, [b"H:vm:1", b""])),
    (b"\0RES\0\0\0\x1c\0\0\0\x09H:vm:1\0\0\0", (PacketType.WORK_DATA, [b"H:vm:1", b"\0\0"])),
    (b"\0RES\0\0\0\x1d\0\0\0\x08H:vm:1\0w", (PacketType.WORK_WARNING, [b"H:vm:1", b"w"])),
    (b"\0RES\0\0\0\x19\0\0\0\x08H:vm:1\0e", (PacketType.WORK_EXCEPTION, [b"H:vm:1", b"e"])),
    (
        b"\0RES\0\0\0\x0c\0\0\0\x0cH:vm:1\x000.5\x001",
        (PacketType.WORK_STATUS, [b"H:vm:1", b"0.5", b"1"]),
    ),
    (
        b"\0RES\0\0\0\x13\0\0\0\x1dQUEUE_ERROR\0Job queue is full",
        (PacketType.ERROR, [b"QUEUE_ERROR", b"Job queue is full"]),
    ),
    (
        b"\0RES\0\0\0\x1f\0\0\0\x0dH:vm:1\0f\0u\0a\0",
        (PacketType.JOB_ASSIGN_UNIQ, [b"H:vm:1", b"f", b"u", b"a\0"]),
    ),
]

STREAM = b"".join(data for data, _ in READ)
PACKETS = [packet for _, packet in READ]


def parse(*pieces: bytes, max_packet: int = 10_000) -> list[Packet]:
    parser = PacketParser(max_packet)
    return [packet for piece in pieces for packet in parser.feed(piece)]


def feed_all(parser: PacketParser, pieces: Iterable[bytes]) -> Iterator[Packet]:
    for piece in pieces:
        yield from parser.feed(piece)


@pytest.mark.parametrize(("packed", "literal"), WRITTEN)
def test_a_request_is_written_as_the_protocol_says(
    packed: tuple[bytes, bytes], literal: bytes
) -> None:
    assert b"".join(packed) == literal


@pytest.mark.parametrize(("data", "packet"), READ)
def test_a_response_is_read_as_the_protocol_says(data: bytes, packet: Packet) -> None:
    assert parse(data) == [packet]


def test_many_packets_may_come_at_once() -> None:
    assert parse(STREAM) == PACKETS


@pytest.mark.parametrize("size", [*range(1, 30), len(STREAM) - 1])
def test_the_size_of_the_pieces_does_not_matter(size: int) -> None:
    pieces = [STREAM[start : start + size] for start in range(0, len(STREAM), size)]
    assert parse(*pieces) == PACKETS


def test_the_place_of_a_cut_does_not_matter() -> None:
    for cut in range(len(STREAM) + 1):
        assert parse(STREAM[:cut], b"", STREAM[cut:]) == PACKETS


def test_pieces_of_random_sizes_give_the_same_packets() -> None:
    random_ = random.Random(4730)
    for _ in range(300):
        cuts = sorted(random_.choices(range(len(STREAM) + 1), k=random_.randrange(9)))
        starts, ends = [0, *cuts], [*cuts, len(STREAM)]
        pieces = [STREAM[start:end] for start, end in zip(starts, ends, strict=True)]
        assert parse(*pieces) == PACKETS


def test_a_packet_is_given_out_with_its_last_byte_and_not_before() -> None:
    data, packet = READ[-1]
    parser = PacketParser()
    assert list(parser.feed(data[:-1])) == []
    assert list(parser.feed(data[-1:])) == [packet]
    assert list(parser.feed(b"")) == []


def test_a_large_body_in_many_pieces_comes_out_whole() -> None:
    body = random.Random(1).randbytes(1_000_000)
    data = response(PacketType.WORK_COMPLETE, b"H:vm:1", body)
    pieces = [data[start : start + 4096] for start in range(0, len(data), 4096)]
    assert parse(*pieces, max_packet=2_000_000) == [(PacketType.WORK_COMPLETE, [b"H:vm:1", body])]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n", "not a Gearman job server"),
        (b"\0REQ\0\0\0\x06\0\0\0\0", "not a Gearman job server"),
        (b"\0RES\0\0\0\0\0\0\0\0", "type 0"),
        (b"\0RES\0\0\0\x07\0\0\0\0", "type 7"),
        (b"\0RES\xff\xff\xff\xff\0\0\0\0", "type 4294967295"),
        (b"\0RES\0\0\0\x0d\0\0\0\x06H:vm:1", "WORK_COMPLETE takes 2 arguments, but got 1"),
        (b"\0RES\0\0\0\x0c\0\0\0\x03a\x001", "WORK_STATUS takes 3 arguments, but got 2"),
        (b"\0RES\0\0\0\x1f\0\0\0\x05a\0b\0c", "JOB_ASSIGN_UNIQ takes 4 arguments"),
        (b"\0RES\0\0\0\x13\0\0\0\0", "ERROR takes 2 arguments"),
    ],
)
def test_what_no_job_server_writes_is_a_protocol_error(data: bytes, message: str) -> None:
    with pytest.raises(ProtocolError, match=message):
        parse(data)


def test_a_header_that_announces_4_gigabytes_is_refused_before_any_body() -> None:
    with pytest.raises(ProtocolError, match="4294967295 bytes is over the limit of 268435456"):
        list(PacketParser().feed(b"\0RES\0\0\0\x08\xff\xff\xff\xff"))


OVERSIZED = [
    (PacketType.WORK_COMPLETE, [b"H:vm:1"]),
    (PacketType.WORK_EXCEPTION, [b"H:vm:1"]),
    (PacketType.WORK_DATA, [b"H:vm:1"]),
    (PacketType.WORK_WARNING, [b"H:vm:1"]),
    (PacketType.JOB_ASSIGN_UNIQ, [b"H:vm:1", b"f", b"key"]),
]
oversized = pytest.mark.parametrize(("type", "names"), OVERSIZED, ids=str)


@oversized
@pytest.mark.parametrize("size", [1, 5, 13, 1000])
def test_of_a_payload_over_the_limit_only_its_length_is_kept(
    type: PacketType, names: list[bytes], size: int
) -> None:
    stream = response(type, *names, b"a\0b" * 50) + STREAM
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    (told_type, arguments), *others = parse(*pieces, max_packet=100)
    *told_names, payload = arguments
    assert (told_type, told_names, others) == (type, names, PACKETS)
    assert isinstance(payload, Oversized)
    assert (payload, payload.length, payload.limit) == (b"", 150, 100)


@oversized
def test_whose_payload_is_too_long_is_told_before_it_is_here(
    type: PacketType, names: list[bytes]
) -> None:
    header = b"\0RES" + struct.pack(">II", type, 2**32 - 1)
    ((_, arguments),) = parse(header + b"\0".join(names) + b"\0")
    assert isinstance(arguments[-1], Oversized)


def test_what_is_not_kept_takes_no_memory() -> None:
    parser = PacketParser(10_000)
    piece = bytes(100_000)
    list(parser.feed(b"\0RES\0\0\0\x0d\xff\xff\xff\xffH:vm:1\0"))
    tracemalloc.start()
    try:
        for _ in range(1_000):
            assert list(parser.feed(piece)) == []
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_an_announced_body_takes_no_memory_until_it_comes() -> None:
    tracemalloc.start()
    try:
        list(PacketParser().feed(b"\0RES\0\0\0\x0d\x0f\xff\xff\xffH:vm:1\0"))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


def test_names_without_end_are_refused() -> None:
    parser = PacketParser(10_000)
    list(parser.feed(b"\0RES\0\0\0\x0d\xff\xff\xff\xff" + b"H" * 10_000))
    with pytest.raises(ProtocolError, match="WORK_COMPLETE takes 2 arguments, but got 1"):
        list(parser.feed(b"H" * 10_000))


@pytest.mark.parametrize(("length", "accepted"), [(99, True), (100, True), (101, False)])
def test_the_longest_body_is_the_limit_itself(length: int, accepted: bool) -> None:
    data = response(PacketType.WORK_FAIL, b"h" * length)
    if accepted:
        assert parse(data, max_packet=100) == [(PacketType.WORK_FAIL, [b"h" * length])]
    else:
        with pytest.raises(ProtocolError, match="101 bytes is over the limit of 100"):
            parse(data[:12], max_packet=100)


def hostile_streams(random_: random.Random, count: int) -> list[bytes]:
    """Noise, and valid streams with bytes changed, inserted, removed or lengths replaced."""
    streams = [random_.randbytes(random_.randrange(64)) for _ in range(count)]
    streams += [b"\0RES" + random_.randbytes(random_.randrange(32)) for _ in range(count)]
    for _ in range(4 * count):
        stream = bytearray(STREAM)
        for _ in range(random_.randint(1, 4)):
            place = random_.randrange(len(stream))
            match random_.randrange(4):
                case 0:
                    stream[place] = random_.randrange(256)
                case 1:
                    del stream[place : place + random_.randrange(1, 20)]
                case 2:
                    stream[place:place] = random_.randbytes(random_.randrange(1, 20))
                case 3:
                    stream[place : place + 4] = struct.pack(">I", random_.randrange(2**32))
        streams.append(bytes(stream))
    return streams


def outcome(stream: bytes, size: int) -> list[Packet] | str:
    pieces = [stream[start : start + size] for start in range(0, len(stream), size)]
    try:
        return parse(*pieces)
    except ProtocolError as error:
        return str(error)


def test_hostile_bytes_give_packets_or_a_protocol_error_and_nothing_else() -> None:
    random_ = random.Random(20260701)
    seen = set()
    for stream in hostile_streams(random_, 1_000):
        whole = outcome(stream, len(stream) or 1)
        assert outcome(stream, random_.randint(1, 40)) == whole
        seen.add(type(whole))
    assert seen == {list, str}  # or else the streams are too tame, or too wild


@oversized
@pytest.mark.parametrize("size", [5, 4_096, 262_144])
def test_a_payload_without_enough_memory_is_freed_and_its_names_are_given_out(
    type: PacketType, names: list[bytes], size: int
) -> None:
    payload = bytes(80 * MIB)
    head = b"\0RES" + struct.pack(">II", type, sum(map(len, names)) + len(names) + len(payload))
    head += b"\0".join([*names, b""])

    def pieces() -> Iterator[bytes]:
        # The names are cut in pieces of this size; the payload too, unless that takes for ever.
        step = max(size, 4_096)
        yield from (head[start : start + size] for start in range(0, len(head), size))
        yield from (payload[start : start + step] for start in range(0, len(payload), step))
        yield STREAM[:20]
        yield STREAM[20:]

    def feed() -> None:
        parser = PacketParser()
        packets = [packet for piece in pieces() for packet in parser.feed(piece)]
        told_type, (*told_names, told) = packets[0]
        assert (told_type, told_names, packets[1:]) == (type, names, PACKETS)
        assert isinstance(told, Oversized)
        assert (told, told.length, told.limit) == (b"", len(payload), None)
        assert "not enough memory for its 83886080 bytes" in told.reason()
        assert len(bytes(40 * MIB)) == 40 * MIB, "what was kept of the payload was not freed"

    run_with_little_memory(50 * MIB, feed)


def test_a_payload_that_arrives_needs_memory_once() -> None:
    payload = bytes(80 * MIB)
    data = response(PacketType.WORK_COMPLETE, b"H:vm:1", payload)

    def feed() -> None:
        parser = PacketParser()
        view = memoryview(data)
        pieces = (view[start : start + 262_144] for start in range(0, len(view), 262_144))
        ((_, (_, received)),) = [packet for piece in pieces for packet in parser.feed(piece)]
        assert received == payload

    run_with_little_memory(120 * MIB, feed)  # twice would be 160


def test_one_piece_with_a_payload_that_there_is_no_memory_to_cut_out() -> None:
    data = response(PacketType.WORK_COMPLETE, b"H:vm:1", bytes(80 * MIB)) + STREAM

    def feed() -> None:
        (_, (name, told)), *others = parse(data, max_packet=2**30)
        assert (name, others) == (b"H:vm:1", PACKETS)
        assert isinstance(told, Oversized)
        assert told.length == 80 * MIB

    run_with_little_memory(50 * MIB, feed)


def test_a_packet_without_a_payload_and_without_enough_memory_is_a_protocol_error() -> None:
    data = memoryview(response(PacketType.WORK_FAIL, bytes(80 * MIB)))

    def feed() -> None:
        pieces = (bytes(data[start : start + 262_144]) for start in range(0, len(data), 262_144))
        with pytest.raises(ProtocolError, match="not enough memory for a packet of 83886092 bytes"):
            list(feed_all(PacketParser(), pieces))

    run_with_little_memory(50 * MIB, feed)


def test_bytes_that_arrive_may_be_overwritten_when_they_were_taken_in() -> None:
    for size in (5, 13, 40):
        parser = PacketParser()
        buffer = bytearray(size)
        packets = []
        for start in range(0, len(STREAM), size):
            piece = STREAM[start : start + size]
            buffer[: len(piece)] = piece
            packets += parser.feed(memoryview(buffer)[: len(piece)])
            buffer[:] = bytes(size)
        assert packets == PACKETS


def test_long_names_that_are_not_over_the_limit_are_waited_for() -> None:
    name = b"f" * 20_000
    data = response(PacketType.JOB_ASSIGN_UNIQ, b"H:vm:1", name, b"", b"payload")
    assert parse(data[:19_000], data[19_000:], max_packet=30_000) == [
        (PacketType.JOB_ASSIGN_UNIQ, [b"H:vm:1", name, b"", b"payload"])
    ]


def test_one_piece_with_names_that_there_is_no_memory_to_cut_out() -> None:
    data = response(PacketType.WORK_FAIL, bytes(80 * MIB))

    def feed() -> None:
        with pytest.raises(MemoryError):
            parse(data, max_packet=2**30)

    run_with_little_memory(50 * MIB, feed)
