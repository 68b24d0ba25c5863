"""How often a healthy release is rolled back, and how soon harm is found: simulated, published."""
