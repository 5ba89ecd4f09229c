"""An app with no workers of its own."""
