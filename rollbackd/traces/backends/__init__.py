"""Trace backends that are asked now and then for what they know: Tempo, Jaeger, VictoriaTraces."""
