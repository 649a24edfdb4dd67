//! Which addresses are dialed. They are checked at each connection, because a name may resolve to another address later.
//!
//! Addresses of this machine or its surroundings are refused: loopback, unspecified, link-local, multicast and broadcast, and the
//! metadata services of clouds; also if an IPv6 address only wraps such an IPv4 address, in whatever way. Private addresses are
//! allowed: services have them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses backends may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressPolicy {
    /// For a cluster.
    Services,
    /// Also loopback, for a developer's machine.
    ServicesAndLoopback,
}

/// The metadata services of clouds that no other rule covers: Alibaba, Azure and Oracle.
const METADATA_V4: [Ipv4Addr; 3] =
    [Ipv4Addr::new(100, 100, 100, 200), Ipv4Addr::new(168, 63, 129, 16), Ipv4Addr::new(192, 0, 0, 192)];
/// The same for Google.
const METADATA_V6: Ipv6Addr = Ipv6Addr::new(0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254);

impl AddressPolicy {
    pub fn admits(self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(address) => self.admits_v4(address),
            IpAddr::V6(address) => {
                self.admits_v6(address)
                    && whole(address).is_none_or(|v4| self.admits_v4(v4))
                    && parts(address).into_iter().flatten().all(|v4| v4.octets()[0] == 0 || self.admits_v4(v4))
            }
        }
    }

    fn admits_v4(self, address: Ipv4Addr) -> bool {
        if address.is_loopback() {
            return self == Self::ServicesAndLoopback;
        }
        address.octets()[0] != 0
            && !address.is_link_local()
            && !address.is_multicast()
            && !address.is_broadcast()
            && !METADATA_V4.contains(&address)
    }

    fn admits_v6(self, address: Ipv6Addr) -> bool {
        if address.is_loopback() {
            return self == Self::ServicesAndLoopback;
        }
        // The metadata services of EC2 have a prefix of unique local addresses.
        let is_ec2 = matches!(address.segments(), [0xfd00, 0xec2, ..]);
        !address.is_unspecified()
            && !address.is_unicast_link_local()
            && !address.is_multicast()
            && !is_ec2
            && address != METADATA_V6
    }
}

/// The IPv4 address that an IPv6 address is another form of: mapped or compatible (RFC 4291), translated (RFC 2765 and 6052) or
/// 6to4 (RFC 3056).
fn whole(address: Ipv6Addr) -> Option<Ipv4Addr> {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => None,
        [0, 0, 0, 0, 0 | 0xffff, 0, high, low]
        | [0, 0, 0, 0, 0, 0xffff, high, low]
        | [0x64, 0xff9b, 0, 0, 0, 0, high, low]
        | [0x64, 0xff9b, 1, _, _, _, high, low]
        | [0x2002, high, low, ..] => Some(v4(high, low)),
        _ => None,
    }
}

/// Further IPv4 addresses to which a packet for an IPv6 address may be forwarded. Zeros at these places mean that the address is
/// not of that form.
fn parts(address: Ipv6Addr) -> [Option<Ipv4Addr>; 4] {
    let octets = address.octets();
    let at = |places: [usize; 4]| Some(Ipv4Addr::from(places.map(|place| octets[place])));
    match address.segments() {
        // Local translation (RFC 8215), with the prefixes of RFC 6052, 2.2: 48, 56 and 64 bits. Octet 8 is skipped.
        [0x64, 0xff9b, 1, ..] => [at([6, 7, 9, 10]), at([7, 9, 10, 11]), at([9, 10, 11, 12]), None],
        // Teredo (RFC 4380): its server, and its client, whose bits are inverted.
        [0x2001, 0, high, low, _, _, client_high, client_low] => {
            [Some(v4(high, low)), Some(v4(!client_high, !client_low)), None, None]
        }
        // ISATAP (RFC 5214), below any prefix.
        [_, _, _, _, 0 | 0x200, 0x5efe, high, low] => [Some(v4(high, low)), None, None, None],
        _ => [None; 4],
    }
}

fn v4(high: u16, low: u16) -> Ipv4Addr {
    Ipv4Addr::from((u32::from(high) << 16) | u32::from(low))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every IPv6 address that stands for an IPv4 address.
    fn wrappings(v4: Ipv4Addr) -> Vec<Ipv6Addr> {
        let [a, b, c, d] = v4.octets();
        let (high, low) = (u16::from_be_bytes([a, b]), u16::from_be_bytes([c, d]));
        let local = |fill: &dyn Fn(&mut [u8; 16])| {
            let mut octets = Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, 0xa00, 1).octets();
            fill(&mut octets);
            Ipv6Addr::from(octets)
        };
        vec![
            v4.to_ipv6_mapped(),
            Ipv6Addr::new(0, 0, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0, 0, 0, 0, 0xffff, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 0, 0, 0, high, low),
            Ipv6Addr::new(0x64, 0xff9b, 1, 7, 8, 9, high, low),
            local(&|octets| (octets[6], octets[7], octets[9], octets[10]) = (a, b, c, d)),
            local(&|octets| (octets[7], octets[9], octets[10], octets[11]) = (a, b, c, d)),
            local(&|octets| (octets[9], octets[10], octets[11], octets[12]) = (a, b, c, d)),
            Ipv6Addr::new(0x2002, high, low, 0, 0, 0, 0, 1),
            Ipv6Addr::new(0x2001, 0, high, low, 0, 0, !0x808, !0x808),
            Ipv6Addr::new(0x2001, 0, 0x808, 0x808, 0x8000, 0, !high, !low),
            Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0x5efe, high, low),
            Ipv6Addr::new(0xfd12, 0, 0, 0, 0x200, 0x5efe, high, low),
        ]
    }

    fn verdicts(address: IpAddr) -> [bool; 2] {
        [AddressPolicy::Services, AddressPolicy::ServicesAndLoopback].map(|policy| policy.admits(address))
    }

    #[test]
    fn addresses_of_this_machine_and_its_surroundings_are_refused_in_every_wrapping() {
        let refused = ["169.254.169.254", "169.254.0.23", "224.0.0.1", "239.255.255.255", "255.255.255.255"];
        let metadata = ["100.100.100.200", "168.63.129.16", "192.0.0.192"];
        for address in refused.into_iter().chain(metadata) {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(verdicts(address.into()), [false; 2], "{address}");
            for wrapped in wrappings(address) {
                assert_eq!(verdicts(wrapped.into()), [false; 2], "{wrapped} for {address}");
            }
        }
        for address in ["127.0.0.1", "127.9.9.9"] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(verdicts(address.into()), [false, true], "{address}");
            for wrapped in wrappings(address) {
                assert_eq!(verdicts(wrapped.into()), [false, true], "{wrapped} for {address}");
            }
        }
        for address in ["10.96.0.10", "172.16.0.1", "192.168.1.1", "8.8.8.8", "100.64.0.1", "192.0.0.171"] {
            let address: Ipv4Addr = address.parse().unwrap();
            assert_eq!(verdicts(address.into()), [true; 2], "{address}");
            for wrapped in wrappings(address) {
                assert_eq!(verdicts(wrapped.into()), [true; 2], "{wrapped} for {address}");
            }
        }
    }

    #[test]
    fn addresses_that_wrap_nothing_are_judged_by_themselves() {
        for (address, expected) in [
            ("0.0.0.0", [false; 2]),
            ("0.1.2.3", [false; 2]),
            ("::", [false; 2]),
            ("::ffff:0.0.0.0", [false; 2]),
            ("64:ff9b::", [false; 2]),
            ("2002::1", [false; 2]),
            ("fe80::1", [false; 2]),
            ("fe80::a9fe:a9fe", [false; 2]),
            ("febf::1", [false; 2]),
            ("ff02::1", [false; 2]),
            ("fd00:ec2::254", [false; 2]),
            ("fd00:ec2::23", [false; 2]),
            ("fd00:ec2:ffff::1", [false; 2]),
            ("fd20:ce::254", [false; 2]),
            ("::1", [false, true]),
            ("fd20:ce::255", [true; 2]),
            ("fd00:ec3::254", [true; 2]),
            ("fd12::1", [true; 2]),
            ("2001:db8::1", [true; 2]),
            ("2600::7f00:1", [true; 2]),
        ] {
            assert_eq!(verdicts(address.parse().unwrap()), expected, "{address}");
        }
    }
}
