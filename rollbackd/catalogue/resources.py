"""What a process takes from its machine, and what it never gives back. All of it needs company."""

from analyzer.signal import Matcher, RateSignal, RatioSignal, Selector, Tier
from rollbackd.catalogue.offer import Offer, gauge, leak

CONTAINERS = (Matcher("container", "!=", ""),)
"""Not the sum over a pod's containers, which cAdvisor tells as well."""

CPU_WHY = (
    "work a second; a canary with less traffic than the baseline needs less, which is no harm"
)
THROTTLED_WHY = "periods in which the kernel made it wait, because its CPU limit was used up"
RESTARTS_WHY = "containers that ended and began again; crash loops are seen without it, too"
MEMORY_WHY = "what the kernel counts before it kills; a start that is known is taken off"
THREADS_WHY = "a leak of what runs at the same time"
FILES_WHY = "a leak of files or sockets"

_SERVER_PROCESS = "Prometheus client libraries, process"

CPU: tuple[Offer, ...] = (
    gauge(
        "cAdvisor, kubelet",
        "container_cpu_usage_seconds_total",
        CPU_WHY,
        name="cpu",
        unit="cores",
        where=CONTAINERS,
        counter=True,
        least=0.01,
    ),
    gauge(
        _SERVER_PROCESS,
        "process_cpu_seconds_total",
        CPU_WHY,
        name="cpu",
        unit="cores",
        counter=True,
        least=0.01,
    ),
    gauge(
        ".NET, OpenTelemetry",
        "dotnet_process_cpu_time_seconds_total",
        CPU_WHY,
        name="cpu",
        unit="cores",
        counter=True,
        least=0.01,
    ),
    gauge(
        "JVM, OpenTelemetry",
        "jvm_cpu_recent_utilization_ratio",
        CPU_WHY,
        name="cpu",
        unit="of the machine",
        least=0.005,
    ),
    gauge(
        "JVM, Micrometer",
        "process_cpu_usage",
        CPU_WHY,
        name="cpu",
        unit="of the machine",
        least=0.005,
    ),
)

LEAKS: tuple[Offer, ...] = (
    leak(
        "cAdvisor, kubelet",
        "container_memory_working_set_bytes",
        MEMORY_WHY,
        name="memory",
        unit="bytes",
        where=CONTAINERS,
    ),
    leak(
        _SERVER_PROCESS,
        "process_resident_memory_bytes",
        "what the process holds; a start that is known is taken off",
        name="memory",
        unit="bytes",
    ),
    leak("Go", "go_goroutines", THREADS_WHY, name="threads", unit="goroutines"),
    leak(
        "JVM, Micrometer", "jvm_threads_live_threads", THREADS_WHY, name="threads", unit="threads"
    ),
    leak("JVM, OpenTelemetry", "jvm_thread_count", THREADS_WHY, name="threads", unit="threads"),
    leak(_SERVER_PROCESS, "process_open_fds", FILES_WHY, name="open-files", unit="files"),
    leak(
        "JVM, Micrometer", "process_files_open_files", FILES_WHY, name="open-files", unit="files"
    ),
)

_PERIODS = "container_cpu_cfs_periods_total"
_THROTTLED = "container_cpu_cfs_throttled_periods_total"
_RESTARTS = "kube_pod_container_status_restarts_total"

KERNEL: tuple[Offer, ...] = (
    Offer(
        "cAdvisor, kubelet",
        RatioSignal(
            "cpu-throttling",
            Selector(_PERIODS, CONTAINERS),
            Selector(_THROTTLED, CONTAINERS),
            tier=Tier.SUPPORTING,
            weight=0.05,
            margin=1.5,
            floor=0.05,
            harm_rate=0.05,
        ),
        frozenset({"cpu-throttling"}),
        THROTTLED_WHY,
    ),
    Offer(
        "kube-state-metrics",
        RateSignal("restarts", Selector(_RESTARTS, CONTAINERS), weight=0.05, margin=2.0, harm=4.0),
        frozenset({"restarts"}),
        RESTARTS_WHY,
    ),
)

RESOURCES: tuple[Offer, ...] = (*CPU, *LEAKS, *KERNEL)
