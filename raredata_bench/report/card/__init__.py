"""The reporting card: what a study says of itself, in one form, by the four items of the scoping review."""
