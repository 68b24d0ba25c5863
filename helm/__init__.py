"""The Helm chart (``rollbackd/``) and the script that writes its ``values.schema.json``."""
