# authwatch in a container. Build: docker build -t authwatch .
#
# Run: docker run -v authwatch-state:/var/lib/authwatch -v ./authwatch.yaml:/etc/authwatch/authwatch.yaml:ro -p 9464:9464 authwatch
# In a container `listen` is 0.0.0.0:9464, so the configuration needs `http.token`. The rules are inside the binary.
# A stop in order takes up to `shutdown_grace` (20 s): `docker stop -t 30`. Nothing is lost where it is cut short.
#
# There is no HEALTHCHECK: the image has no HTTP client. Let the orchestrator ask `/livez`, `/readyz` and `/startupz`.

FROM rust:1.95-slim-bookworm AS build
# aws-lc and zstd are C; aws-lc's assembly is made by perl.
RUN apt-get update \
    && apt-get install -y --no-install-recommends gcc g++ libc6-dev make cmake perl \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
COPY . .
RUN cargo build --release --locked && cp target/release/authwatch /authwatch

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /var/lib/authwatch --shell /usr/sbin/nologin authwatch \
    && install -d -o authwatch -g authwatch -m 0750 /var/lib/authwatch /etc/authwatch
COPY --from=build /authwatch /usr/local/bin/authwatch
COPY docs/authwatch.example.yaml /etc/authwatch/authwatch.example.yaml
USER 10001:10001
VOLUME /var/lib/authwatch
EXPOSE 9464
ENTRYPOINT ["/usr/local/bin/authwatch"]
CMD ["run"]
