"""`waybell run`: a team and its tasks from a file."""
