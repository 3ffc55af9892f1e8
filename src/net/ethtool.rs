//! Queues, rings and offloads of a network interface, as its driver reports them to `ethtool`.

use std::io;

use super::sys;

// linux/ethtool.h
const GRINGPARAM: u32 = 0x10;
const GCHANNELS: u32 = 0x3c;
const GCOALESCE: u32 = 0x0e;
const GTSO: u32 = 0x1e;
const GGSO: u32 = 0x23;
const GFLAGS: u32 = 0x25;
const GGRO: u32 = 0x2b;
const FLAG_LRO: u32 = 1 << 15;

/// The settings of an interface; `None` where the driver does not report one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Nic {
    /// Pairs of queues: in use, and possible.
    pub queues: Option<(u32, u32)>,
    /// Places of a receive ring: in use, and possible.
    pub ring: Option<(u32, u32)>,
    /// Whether interrupts are moderated by load, and for how many microseconds after a packet.
    pub coalescing: Option<(bool, u32)>,
    /// Generic receive offload.
    pub gro: Option<bool>,
    /// Large receive offload.
    pub lro: Option<bool>,
    /// Segmentation by the device or, at the latest, in the driver.
    pub segmentation: Option<bool>,
}

impl Nic {
    /// Asks the driver of an interface.
    pub fn read(name: &str) -> Nic {
        let ask = |command: u32| -> io::Result<[u32; 32]> {
            let mut words = [0; 32];
            words[0] = command;
            sys::ethtool(name, &mut words).map(|()| words)
        };
        let flag = |command: u32, bit: u32| ask(command).ok().map(|words| words[1] & bit != 0);
        Nic {
            // max_rx, max_tx, max_other, max_combined, then the same in use.
            queues: ask(GCHANNELS).ok().map(|w| (w[5].max(w[8]), w[1].max(w[4]))),
            // rx_max, rx_mini_max, rx_jumbo_max, tx_max, then the same in use.
            ring: ask(GRINGPARAM).ok().map(|w| (w[5], w[1])),
            // rx-usecs is the first after the command, use_adaptive_rx the tenth.
            coalescing: ask(GCOALESCE).ok().map(|w| (w[10] != 0, w[1])),
            gro: flag(GGRO, 1),
            lro: flag(GFLAGS, FLAG_LRO),
            segmentation: match (flag(GTSO, 1), flag(GGSO, 1)) {
                (None, None) => None,
                (tso, gso) => Some(tso.or(gso) == Some(true) || gso == Some(true)),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_segmentation_and_no_queues() {
        let nic = Nic::read("lo");
        assert_eq!(nic.queues, None);
        assert_eq!(nic.segmentation, Some(true), "{nic:?}");
    }

    #[test]
    fn an_interface_that_is_not_there_says_nothing() {
        assert_eq!(Nic::read("nothing-here"), Nic::default());
        assert_eq!(Nic::read("a-name-longer-than-the-kernel-takes"), Nic::default());
    }
}
