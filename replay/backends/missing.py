"""What is said when an optional simulator is not there."""


class BackendMissing(ImportError):
    """A backend's simulator is not installed; the message says how to install it."""
