"""Data sets: which there are, reading them, and making them fit to train on. Needs numpy, never torch."""
