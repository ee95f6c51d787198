# One image for every role; the role is the container's first argument: `docker run spheroctl serve`.

FROM rust:1.95-bookworm AS build
WORKDIR /build
# The dependencies alone: this layer is built again only when Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN mkdir -p src tests/it tests/bench/segment tests/bench/queue \
    && printf '//! Nothing yet.\n' | tee src/lib.rs \
    && printf '//! Nothing yet.\nfn main() {}\n' \
    | tee src/main.rs src/build.rs tests/it/main.rs tests/bench/segment/main.rs tests/bench/queue/main.rs \
    && cargo build --release --locked \
    && rm -r src
COPY config config
COPY src src
# Cargo goes by the time of a file, which the copy keeps: it may be older than the empty one above.
RUN touch src/*.rs && cargo build --release --locked

FROM debian:bookworm-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="spheroctl" \
    org.opencontainers.image.description="Back end of a spheroid-image laboratory" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="$VERSION" \
    org.opencontainers.image.revision="$REVISION"
# A volume that is made here takes this owner over.
RUN install -d -o 65532 -g 65532 /var/lib/spheroctl /var/lib/spheroctl/files
# The list of authorities alone; the package brings OpenSSL along.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /build/target/release/spheroctl /usr/local/bin/spheroctl
USER 65532:65532
WORKDIR /var/lib/spheroctl
ENV SPHEROCTL__HTTP__HOST=0.0.0.0 \
    SPHEROCTL__REALTIME__HOST=0.0.0.0 \
    SPHEROCTL__OPS__HOST=0.0.0.0 \
    SPHEROCTL__FILES__DIR=/var/lib/spheroctl/files
EXPOSE 8080 8081 9100
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=3s --start-period=30s --retries=3 CMD ["spheroctl", "health"]
ENTRYPOINT ["spheroctl"]
CMD ["standalone"]
