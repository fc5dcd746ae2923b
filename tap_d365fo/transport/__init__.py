"""The only rooms that touch the network: Entra, the pace, the session, the service."""
