#!/usr/bin/env bash
# Receive packet and flow steering: packets of an interface with fewer queues than CPUs are spread over all CPUs, each
# connection's to the CPU of the worker that reads it.
#   tuning/rps.sh IF            print what would be done
#   tuning/rps.sh --apply IF    do it, as root
#   tuning/rps.sh --undo IF     switch it off

. "$(dirname "$0")/common.sh"
queues=("$NET"/queues/rx-*)
entries=32768
if [ "$MODE" = undo ]; then
    for queue in "${queues[@]}"; do
        put 0 "$queue/rps_cpus"
        put 0 "$queue/rps_flow_cnt"
    done
    put 0 "$ROOT/proc/sys/net/core/rps_sock_flow_entries"
    exit
fi
if [ "${#queues[@]}" -ge "${#CPUS[@]}" ]; then
    echo "$IF has ${#queues[@]} queues for ${#CPUS[@]} CPUs: use irq.sh, RPS would only cost" >&2
    exit
fi
put "$entries" "$ROOT/proc/sys/net/core/rps_sock_flow_entries"
for queue in "${queues[@]}"; do
    put "$(mask "${CPUS[@]}")" "$queue/rps_cpus"
    put "$((entries / ${#queues[@]}))" "$queue/rps_flow_cnt"
done
done_with
