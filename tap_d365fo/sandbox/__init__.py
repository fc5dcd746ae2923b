"""A stand-in for Entra and F&O on loopback. It shares nouns with the client (`edm`), never verbs."""
