"""Profiles that ship with the planner, one JSON file each."""
