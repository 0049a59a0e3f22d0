"""The same decision against a simulated fleet."""
