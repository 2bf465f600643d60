"""The sides of `python -m benchmarks once`, each run in its own environment: its tasks, and how it sends them."""
