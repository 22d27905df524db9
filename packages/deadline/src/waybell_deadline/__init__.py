"""One deadline for a whole call tree, and a wall at its end."""
