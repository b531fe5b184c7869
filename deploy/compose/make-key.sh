#!/bin/sh
# Writes a random key into a file, which only the proxies' user may read, unless there is one already.
set -eu
file=$1
if [ ! -s "$file" ]; then
  umask 077
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \n' > "$file.new"
  [ "$(id -u)" -ne 0 ] || chown 65532:65532 "$file.new"
  mv "$file.new" "$file"
fi
