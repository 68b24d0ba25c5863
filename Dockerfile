# syntax=docker/dockerfile:1
#
# rollbackd's image: the locked dependencies in one virtual environment, on a slim Python, not root.
#
#   docker build -t rollbackd .
#   docker build --target sbom --output type=local,dest=sbom .
#
# Pin what it stands on by digest (CI does):
#   --build-arg PYTHON=docker.io/library/python:3.11-slim-bookworm@sha256:...
#   --build-arg UV=ghcr.io/astral-sh/uv:0.13.9@sha256:...

ARG PYTHON=docker.io/library/python:3.11-slim-bookworm
ARG UV=ghcr.io/astral-sh/uv:0.13.9

FROM ${UV} AS uv


FROM ${PYTHON} AS build
COPY --from=uv /uv /usr/local/bin/uv
ENV UV_COMPILE_BYTECODE=1 \
    UV_LINK_MODE=copy \
    UV_PYTHON_DOWNLOADS=never \
    UV_PROJECT_ENVIRONMENT=/opt/rollbackd
WORKDIR /src

# The dependencies are a layer of their own: they change less often than the code.
COPY pyproject.toml uv.lock ./
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-default-groups --extra all --no-install-project

COPY README.md LICENSE ./
COPY detectors detectors
COPY analyzer analyzer
COPY actions actions
COPY rollbackd rollbackd
RUN --mount=type=cache,target=/root/.cache/uv \
    uv sync --frozen --no-default-groups --extra all --no-editable


FROM build AS bill-of-materials
RUN uv export --quiet --frozen --no-default-groups --extra all --format cyclonedx1.5 \
    --output-file /rollbackd.cdx.json

# The Python packages in the image, as CycloneDX; CI attaches what the base image holds, too.
FROM scratch AS sbom
COPY --from=bill-of-materials /rollbackd.cdx.json /


FROM ${PYTHON} AS runtime
LABEL org.opencontainers.image.title="rollbackd" \
      org.opencontainers.image.description="Watches every rollout and rolls back real harm only" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN groupadd --gid 65532 rollbackd \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /var/lib/rollbackd \
       --shell /usr/sbin/nologin rollbackd \
    && install --directory --owner=65532 --group=65532 /var/lib/rollbackd
COPY --from=build /opt/rollbackd /opt/rollbackd
ENV PATH=/opt/rollbackd/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1

# By number, so that Kubernetes can see that it is not root.
USER 65532:65532
WORKDIR /var/lib/rollbackd
EXPOSE 9469

# Kubernetes has its own probes and passes this over.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=6 \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:9469/healthz', timeout=4)"]
ENTRYPOINT ["rollbackd"]
CMD ["run"]
