"""`python -m reliq.compat`: the page of Celery's names."""

from reliq.compat.page import page

print(page(), end="")
