"""Decisions without I/O: time, ids, back-off, guards, the chain."""
