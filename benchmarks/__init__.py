"""Measurements of reliq beside a peer and a bare loop, in one run: `python -m benchmarks sqlite`."""
