#!/usr/bin/env bash
# Plays a case: runs each line of a file as a shell command in which `docker` is the program named by
# DOCKER_PROGRAM, and prints a transcript: the line, its stdout, its stderr, its exit code.
# Usage: DOCKER_PROGRAM=PATH play.sh CASE
set -u
docker() { "$DOCKER_PROGRAM" "$@"; }
errors=$(mktemp)
trap 'rm -f "$errors"' EXIT
while IFS= read -r line || [ -n "$line" ]; do
  case $line in '' | '#'*) continue ;; esac
  printf '$ %s\n' "$line"
  (eval "$line") </dev/null 2>"$errors"
  code=$?
  if [ -s "$errors" ]; then
    printf '[stderr]\n'
    cat "$errors"
  fi
  printf '[exit %s]\n' "$code"
done <"$1"
