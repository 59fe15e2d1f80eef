"""Tables and texts made from records only."""
