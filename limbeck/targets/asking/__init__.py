"""From a teacher to a transfer set: in this process, in several, or in a Ray cluster."""
