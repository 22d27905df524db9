"""Our figures beside the limit's and each peer's, from one run: `make bench`."""
