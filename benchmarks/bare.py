"""The floor for Python: a client and a worker that are bare `sendall`/`recv` loops with `json`.

    bare.py PORT roundtrip N    N calls, one at a time
    bare.py PORT work           a worker, for ever

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


def work(sock: socket.socket) -> None:
    grab = packet(30)
    sock.sendall(packet(1, FUNCTION) + grab)
    for kind, body in packets(sock):
        if kind == 31:
            handle, _, _, payload = body.split(b"\0", 3)
            arguments = json.loads(payload)
            result = json.dumps(arguments["a"] + arguments["b"]).encode()
            sock.sendall(packet(13, handle, result) + grab)
        elif kind == 10:
            sock.sendall(packet(4))
        elif kind == 6:
            sock.sendall(grab)


def roundtrips(sock: socket.socket, count: int) -> None:
    incoming = packets(sock)

    def call() -> None:
        sock.sendall(packet(7, FUNCTION, b"", json.dumps({"a": 1, "b": 2}).encode()))
        for kind, body in incoming:
            if kind == 13:
                assert json.loads(body.split(b"\0", 1)[1]) == 3
                return

    call()
    started = time.perf_counter()
    for _ in range(count):
        call()
    print(time.perf_counter() - started)


if __name__ == "__main__":
    port, mode, *rest = sys.argv[1:]
    with socket.create_connection(("127.0.0.1", int(port))) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if mode == "work":
            work(sock)
        else:
            roundtrips(sock, int(rest[0]))
