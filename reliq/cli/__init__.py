"""The command line: a file per command, imported only when it runs."""
