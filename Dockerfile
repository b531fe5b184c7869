# The images of RevenProx. Build one with `docker build --target proxy --tag NAME .`
#
# The stages that become images start from nothing, copy single files and say how they run: the
# programs are linked statically and need nothing else. Without Docker the same stages are followed
# by `cargo run -p e2e -- image`, which understands exactly the instructions used in them.

FROM rust:1.95-bookworm AS build
# NNG is built with cmake.
RUN apt-get update && apt-get install --yes --no-install-recommends cmake && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN RUSTFLAGS="-C target-feature=+crt-static" cargo build --locked --release \
        --config profile.release.strip=true --target "$(uname -m)-unknown-linux-gnu" \
        --package revenprox-proxy --bin sse-proxy \
        --package revenprox-operator --bin revenprox-operator \
    && mkdir /out \
    && cp target/*-unknown-linux-gnu/release/sse-proxy target/*-unknown-linux-gnu/release/revenprox-operator /out/

FROM scratch AS proxy
LABEL org.opencontainers.image.title="RevenProx proxy"
LABEL org.opencontainers.image.licenses="MIT"
COPY --from=build --chmod=0644 /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chmod=0755 /out/sse-proxy /usr/local/bin/sse-proxy
USER 65532:65532
EXPOSE 8080 5555 5556
ENTRYPOINT ["/usr/local/bin/sse-proxy"]
CMD ["--config", "/etc/revenprox/proxy.toml"]

FROM scratch AS operator
LABEL org.opencontainers.image.title="RevenProx operator"
LABEL org.opencontainers.image.licenses="MIT"
COPY --from=build --chmod=0755 /out/revenprox-operator /usr/local/bin/revenprox-operator
USER 65532:65532
EXPOSE 8081
ENTRYPOINT ["/usr/local/bin/revenprox-operator"]
CMD ["run"]
