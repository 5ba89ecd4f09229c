"""gearmanny's own job server: sockets, threads and files around `protocol.server`."""
