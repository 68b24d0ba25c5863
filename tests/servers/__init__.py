"""Real servers for tests, started as processes on free loopback ports and ended by their pid."""
