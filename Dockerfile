# The image: one binary, no shell, no package manager, not root.
FROM rust:1.95.0-trixie AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src

# It adds the list of dependencies to the binary, so that scanners find known vulnerabilities in the image.
RUN cargo install --quiet --locked cargo-auditable@0.7.7

# The dependencies have a layer of their own, which a change in src does not rebuild.
COPY Cargo.toml Cargo.lock ./
COPY vendor vendor
RUN mkdir src \
    && touch src/lib.rs \
    && echo 'fn main() {}' > src/main.rs \
    && cargo auditable build --release --locked

COPY migrations migrations
COPY src src
# For `cvsync_build_info`: docker build --build-arg CVSYNC_COMMIT="$(git rev-parse --short HEAD)".
ARG CVSYNC_COMMIT=unknown
# The copied files keep their times and are older than the build above, so cargo would not rebuild them.
RUN touch src/lib.rs src/main.rs \
    && CVSYNC_COMMIT="$CVSYNC_COMMIT" cargo auditable build --release --locked --bin cvsync

# The variant with glibc, because the TLS library is C. It includes CA certificates.
FROM gcr.io/distroless/cc-debian13:nonroot
# docker build --build-arg CVSYNC_COMMIT="$(git rev-parse HEAD)" --build-arg CVSYNC_CREATED="$(date -u +%FT%TZ)" .
ARG CVSYNC_COMMIT=unknown
ARG CVSYNC_CREATED=unknown
ARG CVSYNC_SOURCE=unknown
LABEL org.opencontainers.image.title="cvsync" \
      org.opencontainers.image.description="Keeps a PostgreSQL database in step with the CVs in VDAB's CV API" \
      org.opencontainers.image.licenses="MIT OR Apache-2.0" \
      org.opencontainers.image.version="0.2.0" \
      org.opencontainers.image.revision="$CVSYNC_COMMIT" \
      org.opencontainers.image.created="$CVSYNC_CREATED" \
      org.opencontainers.image.source="$CVSYNC_SOURCE"
COPY --from=build /src/target/release/cvsync /usr/local/bin/cvsync
# A number, so that Kubernetes can check that it is not root.
USER 65532:65532
# All addresses within the container. The published ports decide who can reach it.
ENV CVSYNC_HTTP_ADDR=0.0.0.0:8080
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
    CMD ["/usr/local/bin/cvsync", "healthcheck"]
ENTRYPOINT ["/usr/local/bin/cvsync"]
CMD ["run"]
