"""From what a teacher gives to what is stored, how near that is, and the choice of a codec."""
