#!/usr/bin/env bash
# Interrupts of queue i of an interface go to CPU i, so that its packets are taken where a worker reads them.
#   tuning/irq.sh IF            print what would be done
#   tuning/irq.sh --apply IF    do it, as root; irqbalance must not run, or must be told to leave them alone
#   tuning/irq.sh --undo IF     all CPUs may take all interrupts again

. "$(dirname "$0")/common.sh"
online=$(cat "$ROOT/sys/devices/system/cpu/online")
# A virtio interface's interrupts bear the name of its device.
device=$(basename "$(readlink "$NET/device" || echo none)")
pattern="(^|[^[:alnum:]])($IF|$device)([^[:alnum:]]|\$)"
next=0
found=0
while read -r number action; do
    [[ $action =~ $pattern && ${action,,} =~ (input|output|rx|tx|comp|queue) ]] || continue
    found=1
    # eth0-TxRx-3, virtio0-input.3, mlx5_comp3@pci:0000:01:00.0: the queue's number, or simply the next.
    name=${action%%@*}
    if [[ $name =~ ([0-9]+)$ ]]; then queue=${BASH_REMATCH[1]}; else queue=$next; next=$((next + 1)); fi
    if [ "$MODE" = undo ]; then cpus=$online; else cpus=${CPUS[$((10#$queue % ${#CPUS[@]}))]}; fi
    put "$cpus" "$ROOT/proc/irq/$number/smp_affinity_list"
done < <(awk '$1 ~ /^[0-9]+:$/ { sub(":", "", $1); print $1, $NF }' "$ROOT/proc/interrupts")
if [ "$found" = 0 ]; then
    echo "no interrupts of $IF's queues in /proc/interrupts" >&2
    exit 1
fi
done_with
