"""A decision log that loses nothing at kill -9, and can be queried."""
