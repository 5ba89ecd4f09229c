"""The job server of our own, around `protocol.server`."""
