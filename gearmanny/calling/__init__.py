"""Calls, whoever waits for their answers. No I/O."""
