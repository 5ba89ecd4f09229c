"""What a worker offers, read by callers and workers alike. Pure."""
