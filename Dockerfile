# The backend with the embedded models, on a CPU. Built where Docker is; the project's own checks do not build it.
# With a GPU and the models for photographs: docker run --gpus all --env OVDIFF_PRESET=fast --env OVDIFF_DEVICE=cuda ...
#
#   docker build --tag ovdiff .
#   docker run --publish 9090:9090 --volume ovdiff-data:/data \
#       --env OVDIFF_BASIC_USER=... --env OVDIFF_BASIC_PASSWORD=... \
#       --env LABEL_STUDIO_URL=http://label-studio:8080 --env LABEL_STUDIO_API_KEY=... ovdiff
#
# It does not start without a password, because in a container it listens to the network. Give the same user and
# password in Label Studio's model settings. LABEL_STUDIO_URL is the address as seen from inside the container.

FROM python:3.11-slim AS build
RUN pip install --no-cache-dir uv==0.13.8
WORKDIR /source
COPY pyproject.toml requirements.lock README.md LICENSE ./
COPY converters converters
COPY ovdiff ovdiff
COPY backend backend
# The lock as a constraint pins what is installed without adding the tools of development that it holds as well.
RUN uv venv /opt/ovdiff && uv pip install --no-cache --python /opt/ovdiff/bin/python --constraint requirements.lock '.[cuda]'

FROM python:3.11-slim
COPY --from=build /opt/ovdiff /opt/ovdiff
RUN useradd --create-home ovdiff && install --directory --owner ovdiff /data
USER ovdiff
# Weights that the presets for photographs fetch stay in the volume too.
ENV OVDIFF_DATA_DIR=/data OVDIFF_HOST=0.0.0.0 OVDIFF_PORT=9090 HF_HOME=/data/hub TORCH_HOME=/data/torch
VOLUME /data
EXPOSE 9090
# Healthy is who can work: the models load, the disk can be written. /ready needs no password, and /health would. Weights
# that are fetched first take minutes; an answer that comes sooner ends the start-period. The image has no curl.
HEALTHCHECK --start-period=15m --interval=30s --timeout=5s CMD ["/opt/ovdiff/bin/python", "-c", \
    "import http.client as http, os; \
     asked = http.HTTPConnection('127.0.0.1', int(os.environ['OVDIFF_PORT']), timeout=4); \
     asked.request('GET', '/ready'); raise SystemExit(asked.getresponse().status != 200)"]
CMD ["/opt/ovdiff/bin/ovdiff", "serve"]
