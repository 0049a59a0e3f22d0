"""What is said when an optional simulator is not there."""


class BackendMissingError(ImportError):
    """A backend's simulator is not installed; the message says how to install it."""
