"""Kinds of scalable workloads, one file each."""
