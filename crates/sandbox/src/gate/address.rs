//! Which addresses of the internet are everybody's, and which lead into somebody's own network.
//!
//! Knows no names and connects to nothing. Start at [`public`]. The ranges are those of the IANA registries of special
//! purpose addresses (RFC 6890 and its followers).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// First and last address of a range that is not everybody's, and what it is.
type Range = ([u8; 4], [u8; 4], &'static str);

const V4: &[Range] = &[
    ([0, 0, 0, 0], [0, 255, 255, 255], "this machine"),
    ([10, 0, 0, 0], [10, 255, 255, 255], "a private network"),
    ([100, 64, 0, 0], [100, 127, 255, 255], "a provider's own network"),
    ([127, 0, 0, 0], [127, 255, 255, 255], "this machine"),
    // Where clouds hand out credentials, among others.
    ([168, 63, 129, 16], [168, 63, 129, 16], "a cloud's own service"),
    ([169, 254, 0, 0], [169, 254, 255, 255], "the local link"),
    ([172, 16, 0, 0], [172, 31, 255, 255], "a private network"),
    ([192, 0, 0, 0], [192, 0, 0, 255], "reserved"),
    ([192, 0, 2, 0], [192, 0, 2, 255], "documentation"),
    ([192, 88, 99, 0], [192, 88, 99, 255], "a relay"),
    ([192, 168, 0, 0], [192, 168, 255, 255], "a private network"),
    ([198, 18, 0, 0], [198, 19, 255, 255], "a test network"),
    ([198, 51, 100, 0], [198, 51, 100, 255], "documentation"),
    ([203, 0, 113, 0], [203, 0, 113, 255], "documentation"),
    ([224, 0, 0, 0], [239, 255, 255, 255], "multicast"),
    ([240, 0, 0, 0], [255, 255, 255, 255], "reserved"),
];

/// Nothing, or what this address is instead of everybody's.
pub fn public(address: IpAddr) -> Result<(), &'static str> {
    match address {
        IpAddr::V4(address) => public_v4(address),
        IpAddr::V6(address) => public_v6(address),
    }
}

/// Does a name by its form belong to this machine or to somebody's own network? RFC 6761, 6762, 8375, and what people use.
pub fn at_home(name: &str) -> bool {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let ends = ["localhost", "local", "internal", "home.arpa", "lan", "corp", "home", "intranet", "private"];
    // A name without a dot is nobody's but one's own.
    !name.contains('.')
        || ends.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
}

fn public_v4(address: Ipv4Addr) -> Result<(), &'static str> {
    let octets = address.octets();
    let range = V4.iter().find(|(first, last, _)| (*first..=*last).contains(&octets));
    range.map_or(Ok(()), |(_, _, what)| Err(what))
}

fn public_v6(address: Ipv6Addr) -> Result<(), &'static str> {
    let parts = address.segments();
    match parts {
        [0, 0, 0, 0, 0, 0, 0, 0 | 1] => Err("this machine"),
        [0, 0, 0, 0, 0, 0xffff, ..] => Err("an IPv4 address in disguise"),
        // A gateway to IPv4: what counts is where it leads.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            public_v4(Ipv4Addr::new(a, b, c, d))
        }
        [0xfc00..=0xfdff, ..] => Err("a private network"),
        [0xfe80..=0xfebf, ..] => Err("the local link"),
        [0xff00..=0xffff, ..] => Err("multicast"),
        [0x2001, 0..=0x1ff, ..] | [0x2002, ..] => Err("a tunnel or reserved"),
        [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => Err("documentation"),
        [0x2000..=0x3fff, ..] => Ok(()),
        _ => Err("reserved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_ones_own_network_are_known_by_their_form() {
        for name in [
            "localhost",
            "x.localhost.",
            "metadata",
            "metadata.google.INTERNAL",
            "nas.local",
            "a.b.home.arpa",
        ] {
            assert!(at_home(name), "{name}");
        }
        for name in ["docs.rs", "local.example", "internal.example.", "mylocal.example", "xlan.org", "a.slan"]
        {
            assert!(!at_home(name), "{name}");
        }
    }

    #[test]
    fn everybodys_addresses_and_all_others() {
        for public_one in [
            "1.1.1.1",
            "8.8.8.8",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450::1",
            "64:ff9b::8.8.8.8",
            "2001:200::1",
            "169.253.1.1",
        ] {
            assert_eq!(public(public_one.parse().unwrap()), Ok(()), "{public_one}");
        }
        for own in [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "127.255.255.254",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.192",
            "192.168.0.1",
            "198.18.0.1",
            "224.0.0.1",
            "239.255.255.250",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "fd00:ec2::254",
            "fc00::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "2001:db8::1",
            "2001::1",
            "2002:7f00:1::1",
            "3fff::1",
        ] {
            assert!(public(own.parse().unwrap()).is_err(), "{own}");
        }
    }
}
