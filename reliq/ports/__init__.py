"""The contracts between the runtime and whatever stores messages; the docstrings are the specification."""
