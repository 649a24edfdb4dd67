//! A client as a snapshot holds it: what it may call, how often, and until when.

use std::{collections::HashSet, time::Duration};

use portcullis_crds::{ClientId, ToolName, policy::PolicyClient, server::Limits};

use crate::{
    fingerprint::Fingerprint,
    limiter::{Dimension, Key, Rate},
};

/// How many times more often a client may send what is no admitted call: refused calls, lists, pings.
const OTHERS: u32 = 10;

/// A client of the policy in force.
pub struct Client {
    pub id: ClientId,
    /// Names the client and its UID: limits, sessions and digests go by it.
    pub identity: Fingerprint,
    pub tools: HashSet<ToolName>,
    pub max_records: u32,
    /// `max_records` as JSON.
    pub max_records_text: String,
    pub allow_write: bool,
    /// What each of its calls counts against: its own rates, its share, all clients.
    pub dimensions: Vec<Dimension>,
    /// What each of its other requests counts against.
    pub other_dimensions: Vec<Dimension>,
    suspended: bool,
    /// Seconds since 1970.
    expires_at: Option<i64>,
}

/// Whether a client may do anything at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    Active,
    Suspended,
    Expired,
}

impl Client {
    pub fn new(client: &PolicyClient, limits: &Limits, replicas: u16) -> Self {
        let identity = Fingerprint::of(&[client.id.as_str(), &client.uid]);
        let share = |requests: u32| requests / u32::from(replicas.max(1));
        let rate = |requests, per: portcullis_crds::Duration| Rate { requests, per: per.to_std() };
        let own: Vec<Rate> = client.limits.iter().map(|limit| rate(share(limit.requests), limit.per)).collect();
        let global = rate(share(limits.global.requests), limits.global.per);
        // A client that may hold less than one call of the global window could never call.
        let pool = (u64::from(global.requests) * u64::from(limits.global.max_share) / 100).max(1);
        let pool = Rate { requests: u32::try_from(pool).unwrap_or(u32::MAX), ..global };
        let mut dimensions: Vec<Dimension> =
            own.iter().map(|rate| Dimension { key: Key::Identity(identity), rate: *rate }).collect();
        dimensions.push(Dimension { key: Key::Pool(identity), rate: pool });
        dimensions.push(Dimension { key: Key::Global, rate: global });
        // Of the whole rate: a share of no call still leaves its client the list and a ping.
        let others = |requests: u32| share(requests.saturating_mul(OTHERS)).max(1);
        let other_dimensions = client
            .limits
            .iter()
            .map(|limit| Dimension { key: Key::Other(identity), rate: rate(others(limit.requests), limit.per) })
            .collect();
        Self {
            id: client.id.clone(),
            identity,
            tools: client.tools.iter().cloned().collect(),
            max_records: client.max_records_per_query,
            max_records_text: client.max_records_per_query.to_string(),
            allow_write: client.allow_write,
            dimensions,
            other_dimensions,
            suspended: client.suspended,
            expires_at: client.expires_at.as_ref().map(|time| time.0.as_second()),
        }
    }

    /// `now` is the time since 1970.
    pub fn state(&self, now: Duration) -> ClientState {
        let now = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        match self.expires_at {
            _ if self.suspended => ClientState::Suspended,
            Some(expiry) if expiry <= now => ClientState::Expired,
            _ => ClientState::Active,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(json: &str) -> Client {
        let client: PolicyClient = serde_json::from_str(json).unwrap();
        Client::new(&client, &Limits::default(), 3)
    }

    #[test]
    fn each_replica_holds_its_share_of_every_limit() {
        let client = client(
            r#"{"id":"a","uid":"u","tools":["t"],"maxRecordsPerQuery":10,"limits":[{"requests":61,"per":"1m"},{"requests":5,"per":"1s"}]}"#,
        );
        let rates = |dimensions: &[Dimension]| -> Vec<(u32, u64)> {
            dimensions.iter().map(|dimension| (dimension.rate.requests, dimension.rate.per.as_secs())).collect()
        };
        assert_eq!(rates(&client.dimensions), [(20, 60), (1, 1), (83, 60), (166, 60)]);
        assert_eq!(rates(&client.other_dimensions), [(203, 60), (16, 1)]);
    }

    #[test]
    fn a_client_ends_when_it_expires_or_is_suspended() {
        let rest = r#""id":"a","uid":"u","tools":[],"maxRecordsPerQuery":1,"limits":[{"requests":60,"per":"1m"}]"#;
        let expiring = client(&format!(r#"{{{rest},"expiresAt":"1970-01-01T00:01:00Z"}}"#));
        assert_eq!(expiring.state(Duration::from_secs(59)), ClientState::Active);
        assert_eq!(expiring.state(Duration::from_secs(60)), ClientState::Expired);
        let suspended = client(&format!(r#"{{{rest},"suspended":true}}"#));
        assert_eq!(suspended.state(Duration::ZERO), ClientState::Suspended);
    }
}
