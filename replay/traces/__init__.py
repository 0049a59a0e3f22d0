"""Traces of real and generated requests, one reader per format."""
