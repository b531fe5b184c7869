#!/usr/bin/env bash
# Prints the folder of a Python environment with what requirements.txt lists, and makes it if it is not there.
# It lies outside the tree and is named after the list, so that the next run finds it and another list gets another one.
set -euo pipefail
cd "$(dirname "$0")"
key=$({ cat requirements.txt; python3 --version; } | sha256sum | cut -c1-16)
folder="${XDG_CACHE_HOME:-$HOME/.cache}/revenprox/documentation/$key"
if [ ! -e "$folder/complete" ]; then
  echo "documentation/check: installing what requirements.txt lists into $folder" >&2
  rm -rf "$folder"
  mkdir -p "$(dirname "$folder")"
  python3 -m venv "$folder" || { echo "documentation/check: python3-venv is missing; run ./install.sh --tools-only documentation" >&2; exit 1; }
  "$folder/bin/pip" install --quiet --disable-pip-version-check --requirement requirements.txt >&2
  touch "$folder/complete"
fi
echo "$folder"
