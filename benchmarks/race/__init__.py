"""The race: other task queues, a bare loop and reliq on one Redis server, in one run: `python -m benchmarks race`."""
