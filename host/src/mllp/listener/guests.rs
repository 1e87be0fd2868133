//! How many connections each address has, so that none has them all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Who is connected: how many of each address.
#[derive(Debug, Default)]
pub(super) struct Guests(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// One connection's place among them, until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<Mutex<HashMap<IpAddr, usize>>>,
    address: IpAddr,
}

impl Guests {
    /// A place for a connection of `address`; none where it has `most` already.
    pub(super) fn admit(&self, address: IpAddr, most: usize) -> Option<Place> {
        let address = counted(address);
        let mut guests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = guests.entry(address).or_default();
        if *count >= most {
            return None;
        }
        *count += 1;
        Some(Place {
            guests: self.0.clone(),
            address,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut guests = self.guests.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = guests.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

/// Whoever has one address of IPv6 has a network of 64 bits.
fn counted(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_share_and_no_more() {
        let guests = Guests::default();
        let admit = |address: &str| guests.admit(address.parse().unwrap(), 2);
        let first = admit("10.1.2.3");
        let mapped = admit("::ffff:10.1.2.3");
        assert!(first.is_some() && mapped.is_some());
        assert!(admit("10.1.2.3").is_none());
        assert!(admit("10.1.2.4").is_some(), "another address");
        let six = (admit("2001:db8::1"), admit("2001:db8::2:3"));
        assert!(six.0.is_some() && six.1.is_some());
        assert!(admit("2001:db8::4").is_none(), "the same network");
        assert!(admit("2001:db8:0:1::4").is_some(), "another network");
        drop(first);
        assert!(admit("10.1.2.3").is_some());
    }
}
