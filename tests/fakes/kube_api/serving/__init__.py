"""The HTTP side of the fake: URLs, bodies, watches, discovery and the control endpoint."""
