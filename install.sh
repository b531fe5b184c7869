#!/usr/bin/env bash
# Installs what a Debian machine lacks to build RevenProx, and to test it, and builds it.
#
#   ./install.sh               what a build needs, then a release build of the proxy: target/release/sse-proxy
#   ./install.sh --to-build    only what a build needs; quick if it is there
#   ./install.sh --tools-only  what the tests and lints need too
#   ./install.sh --tools-only GROUP...  what those of the groups need too: browsers, documentation, monitoring
set -euo pipefail
cd "$(dirname "$0")"

# A C compiler, cmake and perl are for the cryptography, the allocator and NNG; prometheus brings promtool, which checks the
# metrics; nginx and haproxy stand between `doctor` and a proxy; the others make the networks on which instances are tested.
packages=(build-essential cmake pkg-config curl ca-certificates)
test_packages=(prometheus nginx haproxy iproute2 nftables util-linux)
# What only some tests need: browsers and other languages' clients, and what builds and checks the guide.
browsers_packages=(chromium firefox-esr nodejs npm python3 python3-venv)
documentation_packages=(python3 python3-venv nodejs npm hunspell hunspell-en-gb jq)
monitoring_packages=(python3 busybox)
# The guide's examples are run: in a browser, with TLS, and in the languages that are not here for another reason.
documentation_packages+=(chromium openssl php-cli ruby perl openjdk-17-jdk-headless libcurl4-openssl-dev)
cargo_deny_version=0.20.2

case ${1:-} in
  "" | --to-build | --tools-only) ;;
  *) echo "install.sh: there is no option $1; the first lines of this file say which there are" >&2; exit 2 ;;
esac
needed=("${packages[@]}")
# Somebody who looks for the first time is not to wait for what only tests need.
if [ "${1:-}" = --tools-only ]; then
  needed+=("${test_packages[@]}")
fi
for group in "${@:2}"; do
  declare -n group_packages="${group}_packages"
  needed+=("${group_packages[@]}")
done

missing=()
for package in "${needed[@]}"; do
  # A program of the package's name will do, wherever it came from.
  command -v "$package" >/dev/null && continue
  dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null | grep -qx installed || missing+=("$package")
done
if [ "${#missing[@]}" -gt 0 ]; then
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    as_root=(sudo)
  fi
  echo "install.sh: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  # Services of these packages are for other machines: nothing is to start here.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

export PATH="$HOME/.cargo/bin:$PATH"
if ! command -v cargo >/dev/null; then
  echo "install.sh: there is no Rust; install it with rustup (https://rustup.rs), the version is in rust-toolchain.toml" >&2
  exit 1
fi
if [ "${1:-}" = --tools-only ] && ! cargo-deny --version 2>/dev/null | grep -qF "$cargo_deny_version"; then
  echo "install.sh: building cargo-deny $cargo_deny_version" >&2
  cargo install --quiet --locked --version "$cargo_deny_version" cargo-deny
fi

if [ -z "${1:-}" ]; then
  cargo build --release --locked --package revenprox-proxy
  echo "install.sh: the proxy is target/release/sse-proxy" >&2
fi
