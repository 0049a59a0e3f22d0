"""REST endpoints and the live page."""
