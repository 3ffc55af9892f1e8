#!/usr/bin/env bash
# Transmit packet steering: each CPU sends through a queue of its own, as far as there are enough.
#   tuning/xps.sh IF            print what would be done
#   tuning/xps.sh --apply IF    do it, as root
#   tuning/xps.sh --undo IF     let the kernel choose a queue by hash again

. "$(dirname "$0")/common.sh"
count=0
for _ in "$NET"/queues/tx-*; do count=$((count + 1)); done
if [ "$count" -lt 2 ]; then
    echo "$IF has one transmit queue: nothing to choose" >&2
    exit
fi
for ((queue = 0; queue < count; queue++)); do
    mine=()
    for ((at = queue; at < ${#CPUS[@]}; at += count)); do mine+=("${CPUS[$at]}"); done
    # More queues than CPUs: the rest stays unused.
    if [ "$MODE" = undo ] || [ ${#mine[@]} = 0 ]; then value=0; else value=$(mask "${mine[@]}"); fi
    put "$value" "$NET/queues/tx-$queue/xps_cpus"
done
done_with
