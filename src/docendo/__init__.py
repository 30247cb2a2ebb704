"""docendo: train image networks that teach each other, and keep the one to deploy."""

__version__ = "0.1.0"
