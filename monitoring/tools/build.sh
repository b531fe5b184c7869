#!/usr/bin/env bash
# Builds one of the programs beside this file, unless it has been built from the same source before, and prints its path.
#
#   build.sh NAME
#
# Programs are kept outside of the tree, in a folder named by the hash of their source and the compiler.
set -euo pipefail
name=$1
cd "$(dirname "$0")"
case $name in
  # The one that the end-to-end tests use too.
  helm) cd ../../e2e/cluster/helm && package=helm.sh/helm/v3/cmd/helm ;;
  *) cd "$name" && package=. ;;
esac
if ! command -v go >/dev/null; then
  echo "monitoring/tools/build.sh: go is needed to build $name and is not on the path; install Go 1.26 or later" >&2
  exit 1
fi
key=$({ go env GOVERSION; cat go.mod go.sum; [ "$package" != . ] || cat main.go; } | sha256sum | cut -c1-12)
folder=${XDG_CACHE_HOME:-$HOME/.cache}/revenprox/monitoring/$name-$key
if [ ! -x "$folder/$name" ]; then
  echo "monitoring/tools/build.sh: building $name; this takes minutes the first time" >&2
  mkdir -p "$folder"
  # Under another name until it is whole, so that an interrupted build leaves no half program.
  CGO_ENABLED=0 nice -n 10 go build -trimpath -buildvcs=false -mod=readonly -ldflags "-s -w" -o "$folder/$name.$$" "$package"
  mv "$folder/$name.$$" "$folder/$name"
fi
echo "$folder/$name"
