"""The same job in other tools, written as their documentation advises."""
