#!/usr/bin/env bash
# Builds Envoy Gateway as go.mod says, unless it has been built before, and prints the program's path.
# It lies outside of the tree, in a folder named by the hash of its modules and the compiler.
set -euo pipefail
cd "$(dirname "$0")"
key=$({ go env GOVERSION; cat go.mod go.sum; } | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/revenprox/documentation/envoy-gateway-$key
if [ ! -x "$folder/envoy-gateway" ]; then
  echo "documentation/check: building Envoy Gateway; this takes minutes the first time" >&2
  mkdir -p "$folder"
  # Under another name until it is whole, so that an interrupted build leaves no half program.
  CGO_ENABLED=0 nice -n 10 go build -trimpath -buildvcs=false -mod=readonly -ldflags "-s -w" \
    -o "$folder/envoy-gateway.$$" github.com/envoyproxy/gateway/cmd/envoy-gateway
  mv "$folder/envoy-gateway.$$" "$folder/envoy-gateway"
fi
echo "$folder/envoy-gateway"
