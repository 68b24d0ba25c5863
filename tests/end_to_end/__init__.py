"""The daemon as a process, against real services, a real Prometheus and the Kubernetes fake."""
