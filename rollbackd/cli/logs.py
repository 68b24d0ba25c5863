"""How the process logs: structlog events on stderr, as JSON or for a person's eyes."""

import logging
import sys
from dataclasses import dataclass
from enum import StrEnum


class LogFormat(StrEnum):
    """What a log line looks like."""

    AUTO = "auto"
    CONSOLE = "console"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """What ``--log-format`` and ``--log-level`` say."""

    format: LogFormat = LogFormat.AUTO
    level: str = "info"

    def configure(self) -> None:
        """Set structlog up, and send what libraries log through the same lines."""
        import structlog  # noqa: PLC0415 - only what logs pays for it

        human = self.format is LogFormat.CONSOLE or (
            self.format is LogFormat.AUTO and sys.stderr.isatty()
        )
        shared: list[structlog.typing.Processor] = [
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=not human),
        ]
        renderer: structlog.typing.Processor
        if human:
            renderer = structlog.dev.ConsoleRenderer(
                colors=sys.stderr.isatty(),
                # The default shows the local variables, and secrets among them.
                exception_formatter=structlog.dev.plain_traceback,
            )
        else:
            shared.append(structlog.processors.format_exc_info)
            renderer = structlog.processors.JSONRenderer()
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=shared,
                processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
            )
        )
        root = logging.getLogger()
        root.handlers = [handler]
        root.setLevel(self.level.upper())
        # At info, APScheduler logs every tick twice, and the others what we say ourselves.
        for chatty in ("apscheduler", "alembic", "uvicorn"):
            logging.getLogger(chatty).setLevel(max(root.level, logging.WARNING))
        # At debug, these log the requests that they sign, tokens and all.
        for signing in ("boto3", "botocore", "google", "kubernetes", "slack_bolt", "slack_sdk"):
            logging.getLogger(signing).setLevel(max(root.level, logging.INFO))
        # Its retries are ours, and what comes of them is told with its reason.
        logging.getLogger("urllib3").setLevel(max(root.level, logging.ERROR))
