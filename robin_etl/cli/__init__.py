"""The command line: one of the two doors; each command imports what it runs only when it runs."""
