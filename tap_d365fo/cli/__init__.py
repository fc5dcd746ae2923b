"""The people's door: the `d365fo` command."""
