"""The Airbyte door: the tap run in process, its messages spoken as Airbyte's protocol."""
