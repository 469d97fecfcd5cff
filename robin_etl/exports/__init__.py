"""Exports: where a day's file is, how it is read, and how a profile maps it onto ROBIN's columns.

What reads files is imported from its own module: it needs pandas, and who waits for a file doesn't.
"""

from robin_etl.exports.locations import SUFFIXES, find_exports, list_days, make_missing_error

__all__ = ["SUFFIXES", "find_exports", "list_days", "make_missing_error"]
