"""`k2 tail`: a topic's records, decoded, on a screen or in a pipe."""
