"""The core: what changes a day's export makes of what ROBIN holds, in pure functions over whole columns.

It imports nothing of ours but itself, and its modules are imported by name: `limits` needs no pandas.
"""
