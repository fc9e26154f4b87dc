"""Tables of one's own: read with care, checked, repaired."""
