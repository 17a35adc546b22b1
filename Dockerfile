# The backend as a container. Two targets: `cpu` (the last one, so also the default) carries no CUDA; `cuda` needs an
# NVIDIA driver 580 or newer, NVIDIA's container toolkit, and `docker run --gpus all`: without a GPU it says so and ends.
# compose.yaml starts it beside Label Studio and PostgreSQL.
#
#   docker build --tag ovdiff .                        # on a CPU: the embedded models, or photographs with patience
#   docker build --tag ovdiff:cuda --target cuda .     # with a GPU: OVDIFF_PRESET=fast OVDIFF_DEVICE=cuda
#   docker build --build-arg LABEL_STUDIO_ML=... .     # with label-studio-ml 2 beside it, for whom it is needed
#   docker run --publish 9090:9090 --volume ovdiff-data:/data \
#       --env OVDIFF_BASIC_USER=... --env OVDIFF_BASIC_PASSWORD=... \
#       --env LABEL_STUDIO_URL=http://label-studio:8080 --env LABEL_STUDIO_API_KEY=... ovdiff
#
# It does not start without a password, because in a container it listens to the network. Give the same user and
# password in Label Studio's model settings. LABEL_STUDIO_URL is the address as seen from inside the container.
#
# Built where Docker is. The project's own checks run these steps in an empty Debian (tests/container), not in Docker.

# The slim image of this version is Debian's; nothing of Debian is added to it.
ARG PYTHON=3.11

FROM python:${PYTHON}-slim AS source
RUN pip install --no-cache-dir uv==0.13.8
# The image's user may not write beside the libraries: what is not compiled here would be compiled anew by each process.
ENV UV_COMPILE_BYTECODE=1
WORKDIR /source
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY converters converters
COPY ovdiff ovdiff
COPY backend backend
RUN uv venv /opt/ovdiff

# The lock as a constraint pins what is installed without adding the tools of development that it holds as well.
FROM source AS cpu-environment
# Where uv takes torch from: PyTorch's own index has builds without CUDA. `cpu` alone leaves out what photographs need.
ARG TORCH="--torch-backend cpu"
ARG EXTRAS=cpu,photographs
# A requirement of label-studio-ml 2, such as the address of an archive of its repository; the package index has only 1.
ARG LABEL_STUDIO_ML=""
RUN uv pip install --no-cache --python /opt/ovdiff/bin/python ${TORCH} --constraint requirements.lock \
    ".[${EXTRAS}]" ${LABEL_STUDIO_ML:+"${LABEL_STUDIO_ML}"}

FROM source AS cuda-environment
ARG LABEL_STUDIO_ML=""
RUN uv pip install --no-cache --python /opt/ovdiff/bin/python --constraint requirements.lock \
    '.[cuda]' ${LABEL_STUDIO_ML:+"${LABEL_STUDIO_ML}"}

FROM python:${PYTHON}-slim AS runtime
RUN useradd --create-home --uid 1000 ovdiff && install --directory --owner 1000 /data
# Weights that the presets for photographs fetch stay in the volume too.
ENV OVDIFF_DATA_DIR=/data OVDIFF_HOST=0.0.0.0 OVDIFF_PORT=9090 HF_HOME=/data/hub TORCH_HOME=/data/torch \
    PATH=/opt/ovdiff/bin:$PATH
VOLUME /data
EXPOSE 9090
# Healthy is who can work: the models load, the disk can be written. /ready needs no password, and /health would. Weights
# that are fetched first take minutes; an answer that comes sooner ends the start-period. The image has no curl.
HEALTHCHECK --start-period=15m --interval=30s --timeout=5s CMD ["/opt/ovdiff/bin/python", "-c", \
    "import http.client as http, os; \
     asked = http.HTTPConnection('127.0.0.1', int(os.environ['OVDIFF_PORT']), timeout=4); \
     asked.request('GET', '/ready'); raise SystemExit(asked.getresponse().status != 200)"]
CMD ["/opt/ovdiff/bin/ovdiff", "serve"]

FROM runtime AS cuda
COPY --from=cuda-environment /opt/ovdiff /opt/ovdiff
USER 1000
# NVIDIA's runtime gives a container what these name. With `--gpus` Docker says it too; as the default runtime nobody does.
ENV OVDIFF_DEVICE=cuda NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility

FROM runtime AS cpu
COPY --from=cpu-environment /opt/ovdiff /opt/ovdiff
USER 1000
