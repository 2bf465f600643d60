"""Sphinx configuration; builds without a network."""

from importlib import import_module
from importlib.metadata import version as installed

project = "reliq"
author = "the reliq authors"
copyright = "the reliq authors; Apache-2.0"
release = version = installed("reliq-queue")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.viewcode"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
nitpicky = False

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
# What a class inherits from `Exception` or `object` tells a reader nothing.
autodoc_default_options = {"members": True, "show-inheritance": True}

html_theme = "furo"
html_title = f"reliq {release}"
html_show_sphinx = False

# The signature of a msgspec struct evaluates annotations, whose names are imported for type checkers only.
for _name, _home in (("Reliq", "reliq.app"), ("Store", "reliq.ports.store"), ("Task", "reliq.tasks")):
    setattr(import_module("reliq.context"), _name, getattr(import_module(_home), _name))
