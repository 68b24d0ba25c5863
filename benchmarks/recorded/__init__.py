"""The product's own path over recorded real cases: what it finds, how soon, and what it accuses wrongly."""
