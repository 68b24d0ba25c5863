"""Stand-ins for the servers rollbackd talks to: real protocols over loopback, no mocking of our own code."""
