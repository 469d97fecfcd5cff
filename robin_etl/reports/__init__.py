"""Reports: a page for each run and an index of them all, HTML that opens without a network.

Values go in, text comes out. The pages name no address; what an export or ROBIN said is escaped, so that
nothing of it is markup.
"""
