"""Analyses: each measures a tidy table and draws a figure from it."""
