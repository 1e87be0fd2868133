# Runs a private PostgreSQL for one test process: `sh cluster.sh`, standard input held open by that process.
# Prints "ready FOLDER PROGRAMS" once it answers on the socket in FOLDER. Ends, and removes everything, when
# standard input is closed, which the kernel does however the process ends.
set -eu
trap '' INT TERM HUP

initdb=$(command -v initdb || ls -d /usr/lib/postgresql/*/bin/initdb 2>/dev/null | sort -V | tail -n 1)
if [ -z "$initdb" ]; then
  echo "PostgreSQL is not installed; tests/run installs it" >&2
  exit 1
fi
programs=$(dirname "$(readlink -f "$initdb")")

folder=$(mktemp -d "${TMPDIR:-/tmp}/ligature-postgres.XXXXXX")
as=
if [ "$(id -u)" = 0 ]; then
  # PostgreSQL refuses to run as root.
  id postgres >/dev/null 2>&1 || useradd --system --no-create-home postgres
  chown postgres "$folder"
  as="setpriv --reuid=postgres --regid=$(id -g postgres) --clear-groups env HOME=$folder"
fi
cd "$folder"

# Nothing here outlives the machine, so nothing has to reach the disk.
$as "$programs/initdb" --pgdata=data --username=postgres --auth=trust --encoding=UTF8 --locale=C --no-sync \
  >initdb.log 2>&1 || { cat initdb.log >&2; rm -rf "$folder"; exit 1; }
cat >>data/postgresql.conf <<SETTINGS
listen_addresses = ''
unix_socket_directories = '$folder'
fsync = off
full_page_writes = off
synchronous_commit = off
max_connections = 200
shared_buffers = 32MB
SETTINGS
$as "$programs/pg_ctl" --pgdata=data --log=server.log --wait --silent start </dev/null >/dev/null \
  || { cat server.log >&2; rm -rf "$folder"; exit 1; }
echo "ready $folder $programs"

while read -r _; do :; done
$as "$programs/pg_ctl" --pgdata=data --mode=immediate --wait --silent stop >/dev/null 2>&1 || true
rm -rf "$folder"
