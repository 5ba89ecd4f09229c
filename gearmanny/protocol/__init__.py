"""The Gearman protocol without I/O: bytes in, events out. No sockets, threads or clocks."""
