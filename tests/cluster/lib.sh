# Sourced by the programs of this folder: where files are, and how processes are started and ended.
# shellcheck shell=bash

CLUSTER_SOURCE=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)

die() { printf '%s: %s\n' "${0##*/}" "$*" >&2; exit 1; }

# package_of TOOL: prints the Debian packages that contain it
package_of() {
  case $1 in
    cc | gcc) echo gcc libc6-dev ;;
    ip | ss) echo iproute2 ;;
    unshare | setsid | flock) echo util-linux ;;
    nft) echo nftables ;;
    pgrep) echo procps ;;
    awk) echo mawk ;;
    busybox) echo busybox-static ;;
    libseccomp) echo libseccomp-dev ;;
    *) echo "$1" ;;
  esac
}

# missing TOOL...: prints the Debian packages of those that are not installed, on one line
missing() {
  local tool
  for tool in "$@"; do
    case $tool in
      libseccomp) [ -e /usr/include/seccomp.h ] || package_of "$tool" ;;
      python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null || package_of "$tool" ;;
      *) command -v "$tool" >/dev/null || package_of "$tool" ;;
    esac
  done | tr ' ' '\n' | sort -u | paste -sd ' '
}

# need TOOL...: ends the program and names what to install if one is missing
need() {
  local packages
  packages=$(missing "$@")
  [ -z "$packages" ] || die "something is missing: apt-get install $packages"
}

# need_toolchain COMMAND WHERE: for tools whose Debian packages are too old
need_toolchain() { command -v "$1" >/dev/null || die "needs '$1': $2"; }
need_go() { need_toolchain go "Go 1.26, https://go.dev/dl/"; }

# cache_of FILE...: prints the folder of what is built from these files; its name is a hash of their contents
cache_of() {
  local hash
  hash=$(cd "$CLUSTER_SOURCE" && cat "$@" | sha256sum | cut -c1-16)
  printf '%s/%s\n' "${PORTCULLIS_K8S_CACHE:-$HOME/.cache/portcullis-k8s}" "$hash"
}

# A process is identified by its pid and its start time: a pid alone may have been given to another process.
start_time() { sed 's/^.*) //' "/proc/$1/stat" 2>/dev/null | cut -d' ' -f20; }

# spawn DIR NAME COMMAND...: in a session of its own, output to DIR/log/NAME.log, identity to DIR/run/NAME.pid
spawn() {
  local dir=$1 name=$2
  shift 2
  setsid "$@" >>"$dir/log/$name.log" 2>&1 </dev/null &
  printf '%s %s\n' "$!" "$(start_time "$!")" >"$dir/run/$name.pid"
}

# alive PIDFILE: whether the process that was started still runs
alive() {
  local pid started
  [ -e "$1" ] || return 1
  read -r pid started <"$1" || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && [ "$(cut -d' ' -f3 <<<"$(sed 's/(.*)/x/' "/proc/$pid/stat" 2>/dev/null)")" != Z ]
}

# finish SIGNAL NAME...: sends the signal to these processes of $DIR, and waits until they have ended
finish() {
  local signal=$1 name pid deadline=$((SECONDS + 10))
  shift
  for name in "$@"; do
    if alive "$DIR/run/$name.pid"; then read -r pid _ <"$DIR/run/$name.pid"; kill -s "$signal" "$pid" 2>/dev/null || true; fi
  done
  for name in "$@"; do
    while alive "$DIR/run/$name.pid"; do
      if [ "$SECONDS" -ge "$deadline" ]; then
        read -r pid _ <"$DIR/run/$name.pid"
        kill -s KILL "$pid" 2>/dev/null || true
      fi
      [ "$SECONDS" -lt $((deadline + 10)) ] || die "$name did not end"
      sleep 0.05
    done
    rm -f "$DIR/run/$name.pid"
  done
}

# wait_for SECONDS WHAT COMMAND...: until the command succeeds
wait_for() {
  local end=$(($(date +%s) + $1)) what=$2
  shift 2
  until "$@" >/dev/null 2>&1; do
    [ "$(date +%s)" -lt "$end" ] || die "gave up waiting for $what"
    sleep 0.05
  done
}

# Beside the cache, because it outlives every cluster and no cluster may leave anything in a temporary folder.
REGISTRY=${PORTCULLIS_K8S_CACHE:-$HOME/.cache/portcullis-k8s}/registry

# Every cluster has a number; ports and addresses follow from it. See 'Numbers' in README.md.
with_registry() { (flock 9; "$@") 9>>"$REGISTRY.lock"; }

registry_claim() { # DIR
  local dir=$1 n line kept=''
  touch "$REGISTRY"
  while read -r n line; do
    if [ "$line" != "$dir" ] && [ -e "$line/run/number" ]; then kept+="$n $line"$'\n'; fi
  done <"$REGISTRY"
  for n in $(seq 0 31); do
    if grep -q "^$n " <<<"$kept"; then continue; fi
    if ip link show "pk8s$n" >/dev/null 2>&1; then continue; fi
    if [ -n "$(ss -Hltn "sport >= :$((21000 + n * 10)) and sport <= :$((21009 + n * 10))")" ]; then continue; fi
    printf '%s%s %s\n' "$kept" "$n" "$dir" >"$REGISTRY"
    printf '%s\n' "$n" >"$dir/run/number"
    return 0
  done
  die "no free cluster number: see $REGISTRY"
}

registry_release() { # DIR
  [ -e "$REGISTRY" ] || return 0
  local n line kept=''
  while read -r n line; do [ "$line" = "$1" ] || kept+="$n $line"$'\n'; done <"$REGISTRY"
  printf '%s' "$kept" >"$REGISTRY"
}

# use_number N: everything that follows from it
# shellcheck disable=SC2034 # the programs that source this file use them
use_number() {
  NUMBER=$1
  ETCD_PORT=$((21000 + NUMBER * 10)) ETCD_PEER_PORT=$((21001 + NUMBER * 10)) API_PORT=$((21002 + NUMBER * 10))
  KCM_PORT=$((21003 + NUMBER * 10)) SCHEDULER_PORT=$((21004 + NUMBER * 10))
  LINK=pk8s$NUMBER HOST_IP=10.63.$NUMBER.1 NODE_IP=10.63.$NUMBER.2
  SERVICE_NET=10.$((64 + NUMBER)).0.0/16 SERVICE_API=10.$((64 + NUMBER)).0.1 SERVICE_DNS=10.$((64 + NUMBER)).0.10
  POD_NET=10.$((128 + NUMBER)).0.0/16 NODE_POD_NET=10.$((128 + NUMBER)).0.0/24
  CGROUP=portcullis-k8s-$NUMBER
}

# use_ipv6: Services have addresses of IPv6 only
# shellcheck disable=SC2034
use_ipv6() { SERVICE_NET=fd64:$NUMBER::/112 SERVICE_API=fd64:$NUMBER::1 SERVICE_DNS=fd64:$NUMBER::a; }

cgroup_roots() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/self/mounts; }
