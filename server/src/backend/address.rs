//! Which addresses are dialed. They are checked at each connection, because a name may resolve to another address later.
//!
//! Addresses of this machine or its surroundings are refused: loopback, unspecified, link-local (among them the metadata services
//! of clouds), multicast and broadcast, also if an IPv6 address only wraps such an IPv4 address. Private addresses are allowed:
//! services have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses backends may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// For a cluster.
    Services,
    /// Also loopback, for a developer's machine.
    ServicesAndLoopback,
}

impl AddressPolicy {
    pub fn admits(self, address: IpAddr) -> bool {
        match wrapped(address) {
            IpAddr::V4(address) if address.is_loopback() => self == Self::ServicesAndLoopback,
            IpAddr::V4(address) => {
                let [first, ..] = address.octets();
                first != 0 && !address.is_link_local() && !address.is_multicast() && !address.is_broadcast()
            }
            IpAddr::V6(address) if address.is_loopback() => self == Self::ServicesAndLoopback,
            IpAddr::V6(address) => {
                !address.is_unspecified()
                    && !address.is_unicast_link_local()
                    && !address.is_multicast()
                    && address != METADATA
            }
        }
    }
}

/// The metadata service of EC2: a unique local address, which no other rule covers.
const METADATA: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);

/// The IPv4 address that an IPv6 address stands for: mapped (RFC 4291), compatible, translated (RFC 6052) or 6to4.
fn wrapped(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else { return address };
    let v4 = |high: u16, low: u16| IpAddr::V4(Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)));
    match v6.segments() {
        [0, 0, 0, 0, 0, 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => v4(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => v4(high, low),
        [0x2002, high, low, ..] => v4(high, low),
        _ => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_machine_and_its_surroundings_are_refused() {
        for address in [
            "0.0.0.0",
            "0.1.2.3",
            "169.254.169.254",
            "224.0.0.1",
            "255.255.255.255",
            "::",
            "fe80::1",
            "ff02::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
        ] {
            let address: IpAddr = address.parse().unwrap();
            assert!(
                !AddressPolicy::Services.admits(address) && !AddressPolicy::ServicesAndLoopback.admits(address),
                "{address}"
            );
        }
        for address in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"] {
            let address: IpAddr = address.parse().unwrap();
            assert!(
                !AddressPolicy::Services.admits(address) && AddressPolicy::ServicesAndLoopback.admits(address),
                "{address}"
            );
        }
        for address in ["10.96.0.10", "192.168.1.1", "8.8.8.8", "fd12::1", "2001:db8::1", "::ffff:10.0.0.1"] {
            assert!(AddressPolicy::Services.admits(address.parse().unwrap()), "{address}");
        }
    }
}
