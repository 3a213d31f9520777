# syntax=docker/dockerfile:1
# The gateway: no torch, no compiler, no pip, no root.
#   docker build -f deploy/docker/gateway.Dockerfile -t clipserve-gateway:0.1.0 .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
# A mirror of the package index.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv --without-pip /opt/clipserve
WORKDIR /src
COPY constraints/locks/image.txt constraints/locks/
# Dependencies first, each file checked against its hash: their layer is reused while only our sources change.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/clipserve/bin/python install --no-deps --require-hashes -r constraints/locks/image.txt
COPY pyproject.toml README.md LICENSE ./
RUN mkdir exporter
COPY client client
COPY gateway gateway
RUN --mount=type=cache,target=/root/.cache/pip \
    pip --python /opt/clipserve/bin/python install --no-deps --force-reinstall . \
    # These commands belong to parts that are not in this image.
    && rm /opt/clipserve/bin/clipserve /opt/clipserve/bin/clipserve-export \
    && /opt/clipserve/bin/clipserve-gateway --version

FROM ${PYTHON_IMAGE}
RUN groupadd --gid 65532 clipserve \
    && useradd --uid 65532 --gid 65532 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin clipserve \
    && install -d -o 65532 -g 65532 /var/lib/clipserve
COPY --from=build /opt/clipserve /opt/clipserve
ENV PATH=/opt/clipserve/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    CLIPSERVE_HOST=0.0.0.0 \
    CLIPSERVE_DATA=/var/lib/clipserve
USER 65532:65532
WORKDIR /tmp
# gRPC; HTTP for /metrics, /healthz and /readyz; the API over HTTP, if CLIPSERVE_API_PORT is set
EXPOSE 8600 8601 8602
ENTRYPOINT ["clipserve-gateway"]
CMD ["serve"]
