"""`python -m reliq` is `reliq`."""

from reliq.cli.main import main

main(prog_name="reliq")
