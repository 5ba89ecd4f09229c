"""The vocabulary of gearman3, and what derives from its classes."""
