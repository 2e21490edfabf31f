#!/usr/bin/env bash
# Records what docker answers to the commands of cases/*.case into recorded/*.txt.
#
# The client is docker 28 (DOCKER names it, else the first `docker` on PATH); the engine is Debian's
# docker.io, which runs in a network and a mount namespace of its own with a data folder that is removed
# afterwards. Needs root, docker.io and busybox-static. The tests compare wharf's own transcripts with these;
# they are never written from wharf's output.
# Usage: record.sh [CASE ...]
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
if [ -z "${GOLDEN_NAMESPACE:-}" ]; then
  exec env GOLDEN_NAMESPACE=1 unshare -n -m "$0" "$@"
fi
work=$(mktemp -d)
export DOCKER_PROGRAM=${DOCKER:-$(command -v docker)} DOCKER_HOST=unix://$work/docker.sock DOCKER_CONFIG=$work/config
finish() {
  [ -z "${engine:-}" ] || { kill "$engine" && wait "$engine" || true; }
  umount -l "$work/data" "$work"/exec/netns/* 2>/dev/null || true
  rm -rf "$work"
  find /sys/fs/cgroup -depth -type d -path '*/golden-record*' -exec rmdir {} + 2>/dev/null || true
}
trap finish EXIT
ip link set lo up
mkdir "$work/data"
mount -t tmpfs tmpfs "$work/data"
dockerd --data-root "$work/data" --exec-root "$work/exec" --pidfile "$work/pid" --host "$DOCKER_HOST" \
  --cgroup-parent /golden-record >"$work/log" 2>&1 &
engine=$!
for _ in $(seq 100); do
  "$DOCKER_PROGRAM" version >/dev/null 2>&1 && break
  kill -0 "$engine" || { cat "$work/log"; exit 1; }
  sleep 0.2
done
mkdir -p "$work/root/bin" "$work/root/etc" "$work/root/tmp"
cp /bin/busybox "$work/root/bin/busybox"
for applet in $(/bin/busybox --list); do ln -s busybox "$work/root/bin/$applet" 2>/dev/null || true; done
printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/false\n' >"$work/root/etc/passwd"
printf 'root:x:0:\nnogroup:x:65534:\n' >"$work/root/etc/group"
tar -C "$work/root" --owner=0 --group=0 -c . >"$work/busybox.tar"
cases=("$@")
[ $# -gt 0 ] || cases=("$here"/cases/*.case)
for case in "${cases[@]}"; do
  "$DOCKER_PROGRAM" import -c 'CMD ["sh"]' "$work/busybox.tar" busybox:latest >/dev/null
  bash "$here/play.sh" "$case" >"$here/recorded/$(basename "$case" .case).txt"
  "$DOCKER_PROGRAM" ps -aq | xargs -r "$DOCKER_PROGRAM" rm -f >/dev/null
  "$DOCKER_PROGRAM" images -q | sort -u | xargs -r "$DOCKER_PROGRAM" rmi -f >/dev/null
done
