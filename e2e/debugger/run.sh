#!/usr/bin/env bash
# Runs the tests of the debugger's page in Chromium and Firefox, or another script of this folder:
#
#   e2e/debugger/run.sh                  the tests, in both browsers
#   e2e/debugger/run.sh screenshots.mjs  takes the pictures of the guide anew
#
# SSE_PROXY is the proxy to test, target/debug/sse-proxy by default; CHROMIUM and FIREFOX are the browsers.
set -euo pipefail
cd "$(dirname "$0")"

export SSE_PROXY="${SSE_PROXY:-$PWD/../../target/debug/sse-proxy}"
export CHROMIUM="${CHROMIUM:-$(command -v chromium || true)}"
export FIREFOX="${FIREFOX:-$(command -v firefox-esr || command -v firefox || true)}"
for needed in SSE_PROXY CHROMIUM FIREFOX; do
  if [ ! -x "${!needed}" ]; then
    echo "debugger: $needed (${!needed:-not found}) is not there; \`./install.sh --tools-only browsers\` brings browsers, \`cargo build\` the proxy" >&2
    exit 1
  fi
done
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "debugger: node and npm are needed; \`./install.sh --tools-only browsers\` brings them" >&2
  exit 1
fi

# The packages are kept outside the tree, under the hash of what pins them.
lock="$(cat package.json package-lock.json .npmrc | sha256sum | cut -c1-16)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/revenprox/debugger/$lock"
if [ ! -f "$cache/complete" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  cp package.json package-lock.json .npmrc "$cache"
  (cd "$cache" && npm ci --silent --ignore-scripts >&2)
  touch "$cache/complete"
fi
export MODULES="$cache/"

if [ "$#" -gt 0 ]; then
  exec node "$@"
fi
exec node --test --test-reporter=spec tests/*.test.mjs
