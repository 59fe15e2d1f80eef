"""Stochastic views of real rows."""
