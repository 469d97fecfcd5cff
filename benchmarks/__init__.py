"""Measurements, each beside a named alternative."""
