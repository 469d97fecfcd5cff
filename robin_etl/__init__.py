"""Tells ROBIN every day exactly which orders of a web shop are first, repeat, return and upsell."""

__version__ = "0.1.0"
