"""An app whose workers are a package."""
