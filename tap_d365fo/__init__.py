"""Singer tap, Airbyte source and command line for Dynamics 365 Finance & Operations."""

__version__ = "0.1.0"
