"""Workers and clients for the Gearman job server, alone and inside Django."""

__version__ = "0.1.0"
