"""What locks and idempotency cost, and what is left of them after SIGKILL: `python -m benchmarks once`."""
