"""One offline HTML page per run, and views of its traces and decisions in the terminal."""
