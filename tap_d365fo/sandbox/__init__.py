"""A stand-in for Entra and F&O on loopback. It may see `edm`, and nothing else of this package."""
