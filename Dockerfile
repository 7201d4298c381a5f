# The gateway as an image: only Python, its libraries, the locked packages and the gateway. It writes no file, so run it with a
# read-only root; secrets come as files or variables. Two ways to configure it:
#   docker run -e OIC_GATEWAY_UPSTREAM=... -e OIC_GATEWAY_TOKEN_URL=... (one route; `oic-gateway serve --help` names all)
#   docker run -v ./gateway.yaml:/etc/oic-gateway/gateway.yaml:ro -e OIC_GATEWAY_CONFIG=/etc/oic-gateway/gateway.yaml
# It listens on loopback by default, beside a caller in the same pod. For callers on a network,
# set `listen` to 0.0.0.0:8080 and `allow` to that network.
# The base image is pinned by the digest of its manifest list: the tag alone moves. To take another one, with tag and digest:
#   docker buildx imagetools inspect python:3.13-slim-trixie
#   docker build --build-arg PYTHON=python:3.13-slim-trixie@sha256:... .
ARG PYTHON=python:3.13.15-slim-trixie@sha256:9d2e5553305c7c7b0097999bb17187c69b921ccd6bc9d40e4bb5ebe652c00285
FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build
COPY requirements.lock requirements-otel.lock requirements-build.lock ./
RUN python -m venv --without-pip /opt/oic-gateway \
 && pip --python /opt/oic-gateway install --only-binary :all: --require-hashes -r requirements.lock -r requirements-otel.lock \
 && pip install --only-binary :all: --require-hashes -r requirements-build.lock
# The base image comes without bytecode of Python's own modules: made here, it saves each start and each health check up to
# half a second.
RUN python -m compileall -q "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY pyproject.toml README.md LICENSE ./
COPY gateway gateway
RUN pip wheel --no-deps --no-build-isolation --no-index --wheel-dir wheel . \
 && pip --python /opt/oic-gateway install --no-deps --no-index wheel/*.whl
COPY deploy/image/root.py ./
RUN mkdir /root-of-image && python root.py /root-of-image /opt/oic-gateway

# No shell, no package manager and no way to install anything later.
FROM scratch
COPY --from=build /root-of-image /
LABEL org.opencontainers.image.title="oic-gateway" \
      org.opencontainers.image.description="An authenticating gateway for Oracle Integration Cloud" \
      org.opencontainers.image.licenses="Apache-2.0"
ENV PATH=/opt/oic-gateway/bin PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /
EXPOSE 8080 9090
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=5s CMD ["oic-gateway", "probe"]
ENTRYPOINT ["oic-gateway"]
CMD ["serve"]
