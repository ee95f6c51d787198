#!/usr/bin/env bash
# A streaming replica: a copy of the primary the first time, then whatever the primary writes.
set -euo pipefail
data=${PGDATA:-/var/lib/postgresql/data}
PGPASSWORD=$(</run/secrets/replication_password)
export PGPASSWORD
if [ ! -s "$data/PG_VERSION" ]; then
  pg_basebackup -h postgres -U replicator -D "$data" -X stream -S replica -R --checkpoint=fast
  chmod 700 "$data"
fi
exec postgres -D "$data"
