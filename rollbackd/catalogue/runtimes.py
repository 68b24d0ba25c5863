"""Processes from the inside: what waits, and for how long. Gauges need company to act."""

from rollbackd.catalogue.offer import Offer, gauge

RUNTIMES: tuple[Offer, ...] = (
    gauge(
        "Node.js, prom-client",
        "nodejs_eventloop_lag_p99_seconds",
        "a blocked event loop delays every request",
        name="event-loop-lag",
        unit="s",
        least=0.005,
    ),
    gauge(
        "Spring Boot, HikariCP",
        "hikaricp_connections_pending",
        "threads that wait for a database connection",
        name="waiting-for-connections",
        unit="threads",
        margin=2.0,
        least=1.0,
    ),
    gauge(
        "ASP.NET Core",
        "kestrel_queued_requests",
        "requests that wait for a thread",
        name="queued-requests",
        unit="requests",
        margin=2.0,
        least=1.0,
    ),
    gauge(
        ".NET",
        "dotnet_thread_pool_queue_length_work_items",
        "work that waits for a thread",
        name="thread-pool-queue",
        unit="items",
        margin=2.0,
        least=1.0,
    ),
    *(
        gauge(
            convention,
            values,
            "share of the time in which the process is stopped or slowed to find garbage",
            name="garbage-collection",
            unit="s a second",
            counter=True,
            margin=2.0,
            least=0.005,
        )
        for convention, values in (
            ("JVM, Micrometer", "jvm_gc_pause_seconds_sum"),
            ("JVM, OpenTelemetry", "jvm_gc_duration_seconds_sum"),
            (".NET, OpenTelemetry", "dotnet_gc_pause_time_seconds_total"),
            ("Node.js, prom-client", "nodejs_gc_duration_seconds_sum"),
            ("Go", "go_gc_duration_seconds_sum"),
        )
    ),
)
