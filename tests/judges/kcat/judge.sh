#!/usr/bin/env bash
# Judge: what kcat sees of a broker. The broker's address is the first argument, an empty topic of one partition the second.
set -uo pipefail
broker=$1
topic=$2
group=$topic-group

# The time limit ends only what hangs.
ask() { echo "\$ ${*//$topic/TOPIC}"; timeout 60 kcat -b "$broker" "$@"; echo "[$?]"; }

{
  ask -L -t "$topic" | grep -E 'topic "|partition 0'
  printf 'front;one\nback;two\nfront;three\n;four\n' |
    ask -P -t "$topic" -p 0 -K ';' -H source=judge -H more=yes -z gzip -X enable.idempotence=true
  ask -C -t "$topic" -p 0 -e -q -f '%p %o %K %k %S %s %h\n'
  ask -C -t "$topic" -p 0 -e -q -o 2 -f '%o %s\n'
  ask -C -t "$topic" -p 0 -e -q -o -1 -f '%o %s\n'
  ask -C -t "$topic" -c 1 -q -o beginning -f '%o %s\n'
  ask -Q -t "$topic:0:-2"
  ask -Q -t "$topic:0:-1"
  ask -Q -t "$topic:0:1"
  ask -C -t "$topic" -p 0 -o s@1 -c 1 -q -f '%o\n'
  ask -G "$group" -X auto.offset.reset=earliest -e -q -f '%o %s\n' "$topic"
  printf 'five\nsix\n' | ask -P -t "$topic" -p 0 -z zstd
  ask -G "$group" -e -q -f '%o %s\n' "$topic"
  for level in read_uncommitted read_committed; do
    ask -C -t "$topic" -e -q -X "isolation.level=$level" -f '%o\n'
  done
} | sed "s/$topic/TOPIC/g"
