"""How the schema came to be: one file a revision, run in order, never edited once released."""
