#!/usr/bin/env bash
# Brings the packages that package-lock.json pins, and links to them from here, where the compiler looks for them.
#
# They are kept outside the tree, under the hash of what pins them.
set -euo pipefail
cd "$(dirname "$0")"
if ! command -v node >/dev/null || ! command -v npm >/dev/null; then
  echo "monitoring/picture: node and npm are needed; \`./install.sh --tools-only browsers\` brings them" >&2
  exit 1
fi
lock="$(cat package.json package-lock.json .npmrc | sha256sum | cut -c1-16)"
cache="${XDG_CACHE_HOME:-$HOME/.cache}/revenprox/monitoring/picture-$lock"
if [ ! -f "$cache/complete" ]; then
  echo "monitoring/picture: fetching packages; this takes minutes the first time" >&2
  rm -rf "$cache"
  mkdir -p "$cache"
  cp package.json package-lock.json .npmrc "$cache"
  (cd "$cache" && npm ci --silent --ignore-scripts >&2)
  touch "$cache/complete"
fi
ln -sfn "$cache/node_modules" node_modules
