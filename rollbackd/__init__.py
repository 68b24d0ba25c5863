"""The process: CLI, configuration, wiring, loop, HTTP, sources, rollouts, store, telemetry.

The only package that knows concrete classes. Plug-ins import from here.
"""
