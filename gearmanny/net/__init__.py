"""Blocking connections to job servers: addresses, sockets, TLS, deadlines and forks."""
