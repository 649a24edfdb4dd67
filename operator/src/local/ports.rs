//! The port of each server: counted up from the first one, and kept for as long as the server runs.

use std::{
    collections::BTreeMap,
    io,
    net::{SocketAddr, TcpListener},
};

use portcullis_crds::NamespacedName;

pub(super) struct Ports {
    first: SocketAddr,
    taken: BTreeMap<NamespacedName, SocketAddr>,
}

impl Ports {
    pub fn new(first: SocketAddr) -> Self {
        Self { first, taken: BTreeMap::new() }
    }

    /// The address at which a server is to listen: its own, or the lowest port from the first that no other server has. Port 0 if
    /// free ports are requested.
    ///
    /// # Errors
    /// Returns an error if all ports up to 65535 are taken.
    pub fn take(&mut self, server: &NamespacedName) -> io::Result<SocketAddr> {
        let mut address = self.first;
        if let Some(taken) = self.taken.get(server) {
            return Ok(*taken);
        }
        while address.port() != 0 && self.taken.values().any(|taken| taken.port() == address.port()) {
            let next = address.port().checked_add(1).ok_or(io::ErrorKind::AddrNotAvailable)?;
            address.set_port(next);
        }
        if address.port() != 0 {
            self.taken.insert(server.clone(), address);
        }
        Ok(address)
    }

    pub fn free(&mut self, server: &NamespacedName) {
        self.taken.remove(server);
    }
}

/// Checks that nobody else listens at an address.
///
/// # Errors
/// Returns the error of an attempt to listen there.
pub(super) fn check(address: SocketAddr) -> io::Result<()> {
    TcpListener::bind(address).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(name: &str) -> NamespacedName {
        NamespacedName { namespace: "sales".into(), name: name.into() }
    }

    #[test]
    fn ports_count_up_and_each_server_keeps_its_own() {
        let mut ports = Ports::new("127.0.0.1:3000".parse().unwrap());
        let take = |ports: &mut Ports, name| ports.take(&server(name)).unwrap().port();
        assert_eq!([take(&mut ports, "a"), take(&mut ports, "b"), take(&mut ports, "a")], [3000, 3001, 3000]);
        ports.free(&server("a"));
        assert_eq!([take(&mut ports, "c"), take(&mut ports, "a")], [3000, 3002]);
        let mut free = Ports::new("127.0.0.1:0".parse().unwrap());
        assert_eq!([take(&mut free, "a"), take(&mut free, "b")], [0, 0]);
        let mut last = Ports::new("127.0.0.1:65535".parse().unwrap());
        assert_eq!(take(&mut last, "a"), 65535);
        assert!(last.take(&server("b")).is_err());
    }
}
