# The client and the toolbox. `docker build --tag k2-platform:latest .`, or `docker compose build`.
# What is installed is what requirements/*.txt pin with hashes; nothing is resolved here.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# First what seldom changes, so that a change of the code does not fetch it anew.
COPY requirements/run.txt requirements/dev.txt ./
RUN python -m venv --without-pip /opt/k2
RUN pip --python /opt/k2/bin/python install --require-hashes --only-binary :all: --requirement run.txt

# What builds the wheel, and uv for the documented command: out of the development requirements, with their hashes.
RUN awk '/^[^ ]/ { keep = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers|uv)==/ } keep' dev.txt > build.txt
RUN pip install --require-hashes --only-binary :all: --requirement build.txt

COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY schemas schemas
COPY profiles profiles
COPY src src
RUN pip wheel --no-deps --no-build-isolation --wheel-dir wheels .
RUN pip --python /opt/k2/bin/python install --no-deps wheels/k2_platform-*.whl
RUN install -m 0755 "$(command -v uv)" /opt/uv


FROM python:3.11.14-slim-bookworm
LABEL org.opencontainers.image.title="k2" \
      org.opencontainers.image.description="Binance market data as governed Kafka topics" \
      org.opencontainers.image.source="https://github.com/k2-platform/k2" \
      org.opencontainers.image.licenses="MIT"

# uv only starts what is installed: it syncs nothing, fetches nothing and writes nothing.
ENV PATH=/opt/k2/bin:$PATH \
    PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    UV_PROJECT_ENVIRONMENT=/opt/k2 UV_NO_SYNC=1 UV_NO_CACHE=1 UV_OFFLINE=1 UV_PYTHON_DOWNLOADS=never \
    K2_HTTP_HOST=0.0.0.0 K2_LOG_FILE=off K2_LOG_FORMAT=json K2_STATE_DIR=/var/lib/k2 K2_DEAD_LETTER_DIR=/tmp/dlq

# A fixed id, so that volumes keep their owner from one image to the next. A new volume takes over these directories' owner.
RUN groupadd --gid 10001 k2 && useradd --uid 10001 --gid k2 --no-create-home --home-dir /var/lib/k2 --shell /usr/sbin/nologin k2
RUN install -d -m 0750 -o k2 -g k2 /var/lib/k2 /tmp/dlq
WORKDIR /app

COPY --from=build /opt/uv /usr/local/bin/uv
COPY --from=build /opt/k2 /opt/k2
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY schemas schemas
COPY profiles profiles
COPY src src

USER 10001:10001
EXPOSE 8001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --retries=3 --start-period=60s \
    CMD ["python", "-c", "import http.client, sys; c = http.client.HTTPConnection(\"127.0.0.1\", 8001, timeout=4); c.request(\"GET\", \"/health\"); sys.exit(c.getresponse().status != 200)"]
CMD ["uv", "run", "python", "src/k2/ingestion/binance_client.py"]
