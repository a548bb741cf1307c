"""One offline page about a run: what it says, and how it is laid out."""
