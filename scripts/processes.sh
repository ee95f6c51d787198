# Servers for tests as processes of this machine: started on free ports of 127.0.0.1, waited for, stopped. Sourced by the
# scripts that know the servers; each says
#
#   script, dir          its own path, and its data folder
#   SERVICES             the names of its servers
#   READY_S STOP_S LOCK_S PROBE_S PORT_TRIES START_TRIES   limits
#   variable NAME        the variable that holds the server's address
#   install_missing      installs what is not there
#   check_given NAME     fails where a server that is given cannot be reached
#   start_NAME           starts it, by `launch`; writes $dir/NAME/url
#   ready_NAME           whether it answers
#
# and then calls main.

# === Commands ===

main() {
  local command=${1:-}
  shift || true
  case "$command" in
    up) locked up ;;
    down) locked down "$@" ;;
    status) status ;;
    env) print_env ;;
    *)
      sed -n '2,/^set -euo/{/^#/s/^# \{0,1\}//p}' "$script" >&2
      exit 64
      ;;
  esac
}

up() {
  install_missing
  local service
  for service in "${SERVICES[@]}"; do
    if is_given "$service"; then
      check_given "$service"
      say "$service: given, $(given "$service")"
    elif is_running "$service"; then
      say "$service: running already, $(url "$service")"
    else
      start "$service"
      say "$service: started, $(url "$service")"
    fi
  done
  : >"$dir/env.new"
  chmod 600 "$dir/env.new"
  print_env >"$dir/env.new"
  mv "$dir/env.new" "$dir/env"
}

down() {
  local service
  for service in "${@:-${SERVICES[@]}}"; do
    stop "$service"
  done
  # With something of ours still running the file keeps its lines: a given service may stand in it too.
  for service in "${SERVICES[@]}"; do
    ! is_running "$service" || return 0
  done
  rm -f "$dir/env"
}

status() {
  local service
  for service in "${SERVICES[@]}"; do
    if is_given "$service"; then
      printf '%-9s %-8s %s\n' "$service" given "$(given "$service")"
    elif is_running "$service"; then
      printf '%-9s %-8s %s\n' "$service" running "$(url "$service")"
    else
      printf '%-9s %-8s %s\n' "$service" stopped -
    fi
  done
}

print_env() {
  local service value
  for service in "${SERVICES[@]}"; do
    if is_given "$service"; then
      value=$(given "$service")
    elif is_running "$service"; then
      value=$(url "$service")
    else
      fail "$service is not running; start it with: scripts/${script##*/} up"
    fi
    printf 'export %s=%q\n' "$(variable "$service")" "$value"
  done
}

# One `up` or `down` at a time on one data folder.
locked() {
  mkdir -p "$dir"
  exec 9>"$dir/lock"
  flock -w "$LOCK_S" 9 || fail "another scripts/${script##*/} has held $dir/lock for $LOCK_S s"
  "$@"
}

# === What is given, what runs ===

given() {
  local name
  name=$(variable "$1")
  printf '%s' "${!name:-}"
}

# A variable that holds our own address (from an earlier `env`) does not make the service somebody else's.
is_given() {
  local value
  value=$(given "$1")
  [ -n "$value" ] && [ "$value" != "$(url "$1")" ]
}

url() {
  if [ -s "$dir/$1/url" ]; then cat "$dir/$1/url"; fi
}

# The pid file holds the boot, the pid and the process's start time: a number that was given to another process
# since, or that comes from another boot or container, is not taken for ours.
is_running() {
  local boot pid started
  [ -s "$dir/$1/pid" ] || return 1
  read -r boot pid started <"$dir/$1/pid"
  [ "$boot" = "$(boot_id)" ] && [ "$started" = "$(start_time "$pid")" ]
}

record_pid() {
  local started
  started=$(start_time "$2")
  [ -n "$started" ] || return 1
  printf '%s %s %s\n' "$(boot_id)" "$2" "$started" >"$dir/$1/pid"
}

boot_id() {
  cat /proc/sys/kernel/random/boot_id
}

# In clock ticks since the boot; empty for a process that is gone or only waits to be reaped.
start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  # The second field is the command in parentheses and may hold spaces: count from behind it.
  local fields
  read -r -a fields <<<"${stat##*) }"
  [ "${fields[0]}" = Z ] || printf '%s' "${fields[19]}"
}

# === Starting and stopping ===

# A port that was free when it was chosen may be taken when it is used: a failed start is tried with other ports.
start() {
  local service=$1 try
  mkdir -p "$dir/$service"
  for ((try = 1; try <= START_TRIES; try++)); do
    remove_data "$service"
    "start_$service" && wait_ready "$service" && return 0
    say "$service: start $try of $START_TRIES failed; the end of $dir/$service/log:"
    tail -n 20 "$dir/$service/log" >&2 || true
    stop "$service"
    rm -f "$dir/$service"/port*
  done
  fail "$service does not start"
}

stop() {
  local service=$1 boot pid deadline
  variable "$service" >/dev/null
  if is_running "$service"; then
    read -r boot pid _ <"$dir/$service/pid"
    # SIGINT is PostgreSQL's fast shutdown: SIGTERM would wait for every client to leave.
    kill -s "$([ "$service" = postgres ] && echo INT || echo TERM)" "$pid" 2>/dev/null || true
    deadline=$((SECONDS + STOP_S))
    while is_running "$service" && ((SECONDS < deadline)); do pause; done
    if is_running "$service"; then
      say "$service: did not end in $STOP_S s, killing process $pid"
      kill -KILL "$pid" 2>/dev/null || true
    fi
    say "$service: stopped"
  fi
  rm -f "$dir/$service/pid"
  remove_data "$service"
}

wait_ready() {
  local service=$1 deadline=$((SECONDS + READY_S))
  while ((SECONDS < deadline)); do
    is_running "$service" || return 1
    if "ready_$service"; then return 0; fi
    pause
  done
  say "$service: no answer after $READY_S s"
  return 1
}

remove_data() {
  local place
  if [ -s "$dir/$1/place" ]; then
    place=$(<"$dir/$1/place")
    rm -rf "${place:?}"
    rm -f "$dir/$1/place"
  fi
  rm -rf "${dir:?}/$1/data"
}

# Starts a command that outlives this script, and records it. The lock must not live on in it.
launch() {
  local service=$1
  shift
  (cd "$dir/$service" && exec setsid nohup "$@" >>"$dir/$service/log" 2>&1 </dev/null 9>&-) &
  record_pid "$service" $!
}

# === Installing ===

apt_install() {
  local root_command=()
  has apt-get || fail "missing: $*; install the equivalent of these Debian packages, then run this again"
  if [ "$(id -u)" != 0 ]; then
    has sudo || fail "missing: $*; run as root: apt-get install $*"
    root_command=(sudo)
  fi
  root_command+=(env DEBIAN_FRONTEND=noninteractive)
  say "installing: $*"
  # Slim images lack this folder, and Java's package links into it.
  "${root_command[@]}" mkdir -p /usr/share/man/man1
  "${root_command[@]}" apt-get -q -o DPkg::Lock::Timeout=300 update >&2 9>&- ||
    fail "apt-get update failed; it is needed to install: $*"
  "${root_command[@]}" apt-get -q -y -o DPkg::Lock::Timeout=300 -o Acquire::Retries=3 \
    install --no-install-recommends "$@" >&2 9>&- || fail "apt-get cannot install: $*"
}

# Python environments lie in $cache and are made by $python; LOCK_S, FETCH_S and FETCH_TRIES limit how.

need_python() {
  has "$python" || apt_install python3 python3-venv
  "$python" -c 'import ensurepip, venv' 2>/dev/null || apt_install python3-venv
}

# environment_place NAME LIST: where the packages of a list are. Its name holds what is in it, so that another list makes
# another one.
environment_place() {
  echo "$cache/$1-$(cat "$2" <("$python" --version) | sha256sum | head -c 12)"
}

# make_environment PLACE LIST ADVICE: installs the packages of a list, where that has not been done.
make_environment() {
  local place=$1 try
  [ ! -e "$place/complete" ] || return 0
  mkdir -p "$cache"
  # Two checkouts may want it at once, and it cannot be made elsewhere and moved: its programs hold its path.
  exec 8>"$place.lock"
  flock -w "$LOCK_S" 8 || fail "another process has been making $place for $LOCK_S s"
  [ ! -e "$place/complete" ] || return 0
  say "installing the Python packages of $2"
  for ((try = 1; try <= FETCH_TRIES; try++)); do
    rm -rf "$place"
    if "$python" -m venv "$place" >&2 9>&- &&
      timeout "$FETCH_S" "$place/bin/pip" install -q --disable-pip-version-check --no-deps -r "$2" >&2 9>&-; then
      touch "$place/complete"
      exec 8>&-
      return 0
    fi
    say "installation $try of $FETCH_TRIES failed"
  done
  fail "the packages of $2 cannot be installed; $3"
}

# === Small parts ===

has() {
  command -v "$1" >/dev/null
}

# The port of the last run when it is still free (addresses in open shells stay right), else a free one.
kept_port() {
  local file="$dir/$1/$2" port try
  if [ -s "$file" ] && is_free "$(<"$file")"; then
    cat "$file"
    return 0
  fi
  for ((try = 0; try < PORT_TRIES; try++)); do
    # Below the range from which outgoing connections take theirs (32768 and up).
    port=$((20000 + (RANDOM << 15 | RANDOM) % 12000))
    if is_free "$port"; then
      echo "$port" | tee "$file"
      return 0
    fi
  done
  fail "no free port between 20000 and 32000 in $PORT_TRIES tries"
}

is_free() {
  ! accepts 127.0.0.1 "$1"
}

accepts() {
  # shellcheck disable=SC2016 # the inner shell expands it
  timeout "$PROBE_S" bash -c 'exec 3<>"/dev/tcp/$0/$1"' "$1" "$2" 2>/dev/null
}

random_text() {
  od -An -N16 -tx1 /dev/urandom | tr -d ' \n'
}

# Between two looks at something that is awaited.
pause() {
  sleep 0.1
}

say() {
  printf '%s\n' "$*" >&2
}

fail() {
  say "scripts/${script##*/}: $*"
  exit 69
}
