"""The format on disk: manifest, arrays, opening, verification. Needs numpy alone."""
