"""Tasks that a worker offers, as callers and workers both read them. Pure."""
