"""The Gearman protocol, sans I/O: bytes in, events out. No socket, no thread, no clock."""
