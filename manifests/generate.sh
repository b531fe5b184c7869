#!/usr/bin/env bash
# Writes what is generated: the definition of the resource, in crds/ and in the chart, and manifests/base/install.yaml, which is the chart with
# its defaults. Needs helm; HELM names it.
set -euo pipefail
cd "$(dirname "$0")/.."
cargo run --quiet --locked --package revenprox-operator -- crd > crds/revenproxclusters.yaml
cp crds/revenproxclusters.yaml charts/revenprox-operator/files/revenproxclusters.yaml
{
  echo "# Generated from charts/revenprox-operator by \`make manifests\`. Apply it with \`kubectl apply --server-side -f\`."
  "${HELM:-helm}" template revenprox-operator charts/revenprox-operator --namespace revenprox-system --kube-version 1.34.0 \
    --set crds.keep=false --skip-tests | sed -e '/helm.sh\/chart:/d' -e '/managed-by: Helm/d'
} > manifests/base/install.yaml
