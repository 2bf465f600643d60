"""Engines: a broker and a store on one server, found by URL scheme through the entry points `reliq.engines`."""
