"""Upkeep: erasing a customer from all that is kept, and clearing away old run files."""
