"""A local ROBIN to try runs on; it shares no code with the sending side, so no mistake either."""
