"""Eager mode: both sides and a job server between them, in memory."""
