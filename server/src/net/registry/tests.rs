//! Which connections there is room for, and which ones make it.

use super::*;

/// A connection without a task.
fn open(connections: &Connections, peer: &str, bounds: &Bounds) -> Option<Slot> {
    connections.open(peer.parse().unwrap(), bounds)
}

fn known(slot: Slot) -> Slot {
    slot.activity.identified(true);
    slot
}

#[tokio::test(start_paused = true)]
async fn addresses_count_by_themselves_and_those_of_a_network_of_ipv6_also_together() {
    let bounds =
        Bounds { connections_per_peer: 2, connections_per_network: 3, wide_connections: 1, ..Bounds::default() };
    let (connections, mut slots) = (Connections::default(), Vec::new());
    for (peer, expected) in [
        ("2001:db8::1", Some(true)),
        ("2001:db8::1", Some(false)),
        ("2001:db8::1", None),
        ("2001:db8::2", Some(true)),
        ("2001:db8::3", None),
        ("2001:db8:0:1::", Some(true)),
        ("192.0.2.1", Some(true)),
        ("::ffff:192.0.2.1", Some(false)),
        ("192.0.2.1", None),
        ("192.0.2.2", Some(true)),
        ("192.0.2.3", Some(true)),
        ("192.0.2.4", Some(true)),
    ] {
        let slot = open(&connections, peer, &bounds);
        assert_eq!(slot.as_ref().map(Slot::is_wide), expected, "{peer}");
        slots.extend(slot);
    }
    let few = Bounds { connections_per_peer: 9, connections_per_network: 9, ..bounds };
    let (connections, slots) = (Connections::default(), &mut Vec::new());
    for (last, expected) in [true, true, true, true, false].into_iter().enumerate() {
        slots.push(open(&connections, &format!("2001:db8::{last}"), &few).unwrap());
        assert_eq!(slots[last].is_wide(), expected, "{last}");
    }
    slots.clear();
    assert!(connections.0.registry.lock().groups.is_empty());
}

#[tokio::test(start_paused = true)]
async fn on_the_admin_port_nobody_is_kept_out_by_those_who_never_pause() {
    for of_network in [false, true] {
        let (connections, bounds, mut slots) = (Connections::default(), Bounds::admin(), Vec::new());
        let addresses = if of_network { bounds.connections_per_network / bounds.connections_per_peer } else { 1 };
        for n in 0..addresses * bounds.connections_per_peer {
            slots.push(open(&connections, &format!("2001:db8::{}", n % addresses), &bounds).unwrap());
        }
        for _ in 0..20 {
            tokio::time::advance(Duration::from_millis(50)).await;
            for slot in &slots {
                drop(slot.activity.begin(false));
                slot.activity.read();
            }
            let prober = if of_network { "2001:db8::ff" } else { "2001:db8::" };
            slots.push(open(&connections, prober, &bounds).expect("a probe must be answered"));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_make_room_one_after_the_other_and_who_does_not_end_in_time_is_cut_off() {
    let bounds = Bounds { connections_per_peer: 16, ..Bounds::default() };
    let connections = Connections::default();
    let mut slots = Vec::new();
    for _ in 0..16 {
        slots.push(known(open(&connections, "192.0.2.1", &bounds).unwrap()));
        tokio::time::advance(Duration::from_millis(1)).await;
    }
    tokio::time::advance(Duration::from_secs(1)).await;
    let draining = || slots.iter().map(|slot| slot.activity.is_draining()).filter(|is_draining| *is_draining).count();
    // An eighth of them at once: a caller that connects again and again does not end the connections of all others.
    for expected in [1, 2, 2] {
        assert!(open(&connections, "192.0.2.1", &bounds).is_none());
        assert_eq!(draining(), expected);
    }
    assert!(slots[0].activity.is_draining() && slots[1].activity.is_draining(), "those that were idle for longest");
    tokio::time::advance(CLOSE).await;
    // One that is used again is not overdue.
    drop(slots[0].activity.begin(false));
    let second = open(&connections, "192.0.2.1", &bounds);
    assert!(second.is_some() && connections.count() == 16, "the second one was cut off");
    assert!(open(&connections, "192.0.2.1", &bounds).is_none());
    assert_eq!((draining(), slots[2].activity.is_draining()), (3, true));
    // Once nobody is identified on it, a connection is a stranger's.
    slots[15].activity.identified(false);
    assert!(open(&connections, "192.0.2.1", &bounds).is_some());
}
