"""Traces run through the production code: pods placed until the fleet is full, or jobs replayed through time."""
