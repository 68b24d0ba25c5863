"""Remote calls that a service answers, and what it asks of databases, queues and others."""

from analyzer.signal import Matcher
from rollbackd.catalogue.offer import Offer, errors, latency

SERVER_FAULT = "Unknown|DeadlineExceeded|Unimplemented|Internal|Unavailable|DataLoss"
"""gRPC statuses that are the server's fault, as the OpenTelemetry conventions count them."""
SERVER_FAULT_NUMBERS = "2|4|12|13|14|15"
"""The same as numbers."""
ANY_ERROR = Matcher("error_type", "!=", "")

CALLS: tuple[Offer, ...] = (
    errors(
        "gRPC, go-grpc-prometheus and its like",
        "grpc_server_handled_total",
        Matcher("grpc_code", "=~", SERVER_FAULT),
        "statuses that are the server's fault; a client's mistakes do not count",
        name="call-errors",
        routes=("grpc_method",),
    ),
    latency(
        "gRPC, go-grpc-prometheus and its like",
        "grpc_server_handling_seconds_bucket",
        "from the call's start to its status",
        name="call-latency",
    ),
    errors(
        "OpenTelemetry RPC server",
        "rpc_server_duration_milliseconds_count",
        Matcher("rpc_grpc_status_code", "=~", SERVER_FAULT_NUMBERS),
        "statuses that are the server's fault; a client's mistakes do not count",
        name="call-errors",
        routes=("rpc_method",),
    ),
    latency(
        "OpenTelemetry RPC server",
        "rpc_server_duration_milliseconds_bucket",
        "from the call's start to its status",
        name="call-latency",
        unit="ms",
    ),
    errors(
        "OpenTelemetry database client",
        "db_client_operation_duration_seconds_count",
        ANY_ERROR,
        "a new version that breaks a query shows here first",
        name="database-errors",
        weight=0.1,
    ),
    latency(
        "OpenTelemetry database client",
        "db_client_operation_duration_seconds_bucket",
        "a lost index or a query in a loop",
        name="database-latency",
        weight=0.1,
    ),
    errors(
        "OpenTelemetry messaging",
        "messaging_process_duration_seconds_count",
        ANY_ERROR,
        "consumers answer no requests; their failures are here",
        name="message-errors",
        weight=0.2,
        routes=("messaging_destination_name",),
    ),
    latency(
        "OpenTelemetry messaging",
        "messaging_process_duration_seconds_bucket",
        "time to process a message, not to wait for it",
        name="message-latency",
        weight=0.2,
    ),
    errors(
        "OpenTelemetry HTTP client",
        "http_client_request_duration_seconds_count",
        ANY_ERROR,
        "calls to other services that fail, a client's own mistakes included",
        name="outgoing-errors",
        weight=0.1,
    ),
)
