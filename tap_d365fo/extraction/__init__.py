"""What to extract, by which method and in which pieces; the waist between doors and wire."""
