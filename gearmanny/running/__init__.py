"""The processes of a runner."""
