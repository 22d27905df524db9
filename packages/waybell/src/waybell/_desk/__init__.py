"""The research desk: what `waybell demo` runs over a folder of text and code."""
