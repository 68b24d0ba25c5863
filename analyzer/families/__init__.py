"""Signal families: all watches that read the same kind of series, compared in one batch."""
