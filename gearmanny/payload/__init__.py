"""What may travel: failures, names, sizes, encoded values; and how numbers are checked. Pure."""
