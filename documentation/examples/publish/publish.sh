#!/bin/sh
# Publishes one event: publish.sh TOPIC DATA
set -eu
topic=$(printf %s "$1" | jq -sRr @uri)
printf %s "$2" | curl --silent --show-error --fail-with-body --retry 3 --max-time 10 \
  --header "Authorization: Bearer ${REVENPROX_TOKEN:-}" \
  --header "Idempotency-Key: ${IDEMPOTENCY_KEY:-$(cat /proc/sys/kernel/random/uuid)}" \
  --data-binary @- "${REVENPROX_URL:-http://localhost:8080}/events/$topic?event=order"
