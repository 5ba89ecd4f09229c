"""The floor for Python: a client and a worker that are bare `sendall`/`recv` loops with `json`.

    bare.py PORT roundtrip N    N calls, one at a time
    bare.py PORT batch N        N calls submitted, then awaited
    bare.py PORT work N         a worker that leaves after N jobs (0: never)

Prints the seconds that it took.

It knows nothing of errors, timeouts, other servers or partial packets: what a
library costs is what it needs more than this.
"""

import json
import socket
import struct
import sys
import time

FUNCTION = b"bench_add"


def packet(kind: int, *arguments: bytes) -> bytes:
    body = b"\0".join(arguments)
    return struct.pack(">4sII", b"\0REQ", kind, len(body)) + body


def packets(sock: socket.socket):
    buffer = b""
    while True:
        buffer += sock.recv(65536)
        while len(buffer) >= 12:
            _, kind, length = struct.unpack_from(">4sII", buffer)
            if len(buffer) < 12 + length:
                break
            yield kind, buffer[12 : 12 + length]
            buffer = buffer[12 + length :]


def work(sock: socket.socket, limit: int) -> None:
    done, started = 0, 0.0
    grab = packet(30)
    sock.sendall(packet(1, FUNCTION) + grab)
    for kind, body in packets(sock):
        if kind == 31:
            handle, _, _, payload = body.split(b"\0", 3)
            arguments = json.loads(payload)
            result = json.dumps(arguments["a"] + arguments["b"]).encode()
            done += 1
            if done == 1:
                started = time.perf_counter()  # connecting is not part of it
            sock.sendall(packet(13, handle, result) + (grab if done != limit else b""))
            if done == limit:
                print(time.perf_counter() - started)
                return
        elif kind == 10:
            sock.sendall(packet(4))
        elif kind == 6:
            sock.sendall(grab)


def call(sock: socket.socket, count: int, together: int) -> None:
    incoming = packets(sock)

    def submit(jobs: int) -> None:
        sock.sendall(
            b"".join(
                packet(7, FUNCTION, b"", json.dumps({"a": 1, "b": 2}).encode()) for _ in range(jobs)
            )
        )
        for kind, body in incoming:
            if kind == 13:
                assert json.loads(body.split(b"\0", 1)[1]) == 3
                jobs -= 1
                if not jobs:
                    return

    submit(1)
    started = time.perf_counter()
    for _ in range(count // together):
        submit(together)
    print(time.perf_counter() - started)


if __name__ == "__main__":
    port, mode, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mode == "work":
            work(sock, count)
        else:
            call(sock, count, together=count if mode == "batch" else 1)
