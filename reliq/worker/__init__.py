"""The worker: a supervisor, its children, and what keeps their messages theirs."""
