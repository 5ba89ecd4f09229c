"""The classes of gearman3, and classes derived from them."""
