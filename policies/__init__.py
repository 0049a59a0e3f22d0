"""The decision: pure functions from what is seen to what should run."""
