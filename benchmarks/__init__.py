"""Figures, never assertions: speed, memory, delay."""
