"""Requests that a service answers: first counted beside it (mesh), then by itself, then by a proxy."""

from analyzer.signal import Matcher
from rollbackd.catalogue.offer import Offer, errors, latency

DESTINATION = (Matcher("reporter", "=", "destination"),)
INBOUND = (Matcher("direction", "=", "inbound"),)
FAILED = "5.."
CLIENT_ROUTES = ("route", "handler", "endpoint", "path", "uri", "url")
"""Labels of what was asked for, as services of different languages call it."""
CALLS = ("call-errors",)
CALL_LATENCY = ("call-latency",)

_MESH = (
    errors(
        "Istio",
        "istio_requests_total",
        Matcher("response_code", "=~", FAILED),
        "counted by the sidecar, so a crashing process cannot hide its failures",
        where=DESTINATION,
        covers=CALLS,
        routes=("request_operation",),
    ),
    latency(
        "Istio",
        "istio_request_duration_milliseconds_bucket",
        "the time the sidecar waited for the process, gRPC included",
        where=DESTINATION,
        covers=CALL_LATENCY,
        unit="ms",
    ),
    errors(
        "Linkerd",
        "response_total",
        Matcher("classification", "=", "failure"),
        "counted by the proxy; gRPC statuses are classified, too",
        where=INBOUND,
        covers=CALLS,
        routes=("route_name",),
    ),
    latency(
        "Linkerd",
        "response_latency_ms_bucket",
        "from the first byte of the request to the last of the response",
        where=INBOUND,
        covers=CALL_LATENCY,
        unit="ms",
    ),
)

_OPEN_TELEMETRY = (
    errors(
        "OpenTelemetry HTTP server",
        "http_server_request_duration_seconds_count",
        Matcher("http_response_status_code", "=~", FAILED),
        "every request is in the histogram's count; ASP.NET Core names its metrics so, too",
        routes=("http_route",),
    ),
    latency(
        "OpenTelemetry HTTP server",
        "http_server_request_duration_seconds_bucket",
        "stable since semantic conventions 1.23; ASP.NET Core names its metrics so, too",
    ),
    errors(
        "OpenTelemetry HTTP server, before 1.23",
        "http_server_duration_milliseconds_count",
        Matcher("http_status_code", "=~", FAILED),
        "older instrumentation libraries still send it",
        routes=("http_route",),
    ),
    latency(
        "OpenTelemetry HTTP server, before 1.23",
        "http_server_duration_milliseconds_bucket",
        "older instrumentation libraries still send it",
        unit="ms",
    ),
)

_FRAMEWORKS = (
    errors(
        "Spring Boot, Micrometer",
        "http_server_requests_seconds_count",
        Matcher("status", "=~", FAILED),
        "one count per handled request, by status",
        routes=("uri",),
    ),
    latency(
        "Spring Boot, Micrometer",
        "http_server_requests_seconds_bucket",
        "only with management.metrics.distribution.percentiles-histogram enabled",
    ),
    errors(
        "prometheus-net, ASP.NET",
        "http_requests_received_total",
        Matcher("code", "=~", FAILED),
        "counted by the middleware of prometheus-net.AspNetCore",
        routes=("endpoint", "action"),
    ),
)

_CLIENTS = tuple(
    errors(
        f"Prometheus client libraries, label {label}",
        total,
        Matcher(label, "=~", FAILED),
        "the usual name in Go, Python and Node.js services",
        routes=CLIENT_ROUTES,
    )
    for total in (
        "http_requests_total",
        "http_server_requests_total",
        "http_request_duration_seconds_count",
    )
    for label in ("code", "status", "status_code")
)

_CLIENT_LATENCY = (
    latency(
        "Prometheus client libraries",
        "http_request_duration_seconds_bucket",
        "the usual name in Go, Python and Node.js services",
    ),
)

_PROXIES = (
    errors(
        "Envoy",
        "envoy_http_downstream_rq_xx",
        Matcher("envoy_response_code_class", "=", "5"),
        "for Envoy itself, or where it runs beside the process",
    ),
    latency(
        "Envoy",
        "envoy_http_downstream_rq_time_bucket",
        "for Envoy itself, or where it runs beside the process",
        unit="ms",
    ),
    errors(
        "NGINX ingress controller",
        "nginx_ingress_controller_requests",
        Matcher("status", "=~", FAILED),
        "for rollouts of the controller; the services behind it need id_labels of their own",
        routes=("path", "ingress"),
    ),
    latency(
        "NGINX ingress controller",
        "nginx_ingress_controller_request_duration_seconds_bucket",
        "for rollouts of the controller; the services behind it need id_labels of their own",
    ),
    errors(
        "Traefik",
        "traefik_entrypoint_requests_total",
        Matcher("code", "=~", FAILED),
        "for rollouts of Traefik; the services behind it need id_labels of their own",
    ),
    latency(
        "Traefik",
        "traefik_entrypoint_request_duration_seconds_bucket",
        "for rollouts of Traefik; the services behind it need id_labels of their own",
    ),
)

REQUESTS: tuple[Offer, ...] = (
    *_MESH,
    *_OPEN_TELEMETRY,
    *_FRAMEWORKS,
    *_CLIENTS,
    *_CLIENT_LATENCY,
    *_PROXIES,
)
