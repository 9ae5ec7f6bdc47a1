"""`k2 audit`: what lies in a topic against what a recording says that must lie there."""
