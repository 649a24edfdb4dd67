//! A client in a snapshot: what it may call, how often, and until when.

use std::{collections::HashMap, sync::Arc, time::Duration};

use portcullis_crds::{
    ClientId, ToolName,
    contract::{Limits, PolicyClient},
};

use super::conditions::Conditions;
use crate::{fingerprint::Fingerprint, hash::HashSet, limiter::Rate};

/// How many times more often a client may send requests that are not admitted calls: all that is refused, lists, pings.
const ALLOWANCE: u32 = 10;

/// The clients of the policy in force.
pub struct Clients(HashMap<(ClientId, String), Arc<Client>>);

/// A client of the policy in force.
pub struct Client {
    pub id: ClientId,
    /// Stands for the client and its UID.
    pub fingerprint: Fingerprint,
    pub tools: HashSet<ToolName>,
    pub max_records: u32,
    pub allow_write: bool,
    /// What its calls must meet.
    pub conditions: Conditions,
    pub limits: ClientLimits,
    suspended: bool,
    /// Seconds since 1970.
    expires_at: Option<i64>,
}

/// How often a client may call. The rates are those of all replicas together.
pub struct ClientLimits {
    /// The rates of each identity of the client; all of them hold.
    pub own: Vec<Rate>,
    /// How much of the global limit all identities of the client may use together.
    pub share: Rate,
    /// The limit of all clients together.
    pub global: Rate,
    /// The rates of each identity's requests that are not admitted calls.
    pub allowance: Vec<Rate>,
}

/// Whether a client may send requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientState {
    Active,
    Suspended,
    Expired,
}

impl Clients {
    pub fn new(clients: &[PolicyClient], limits: &Limits) -> Self {
        let clients = clients.iter().map(|it| ((it.id.clone(), it.uid.clone()), Arc::new(Client::new(it, limits))));
        Self(clients.collect())
    }

    /// The client with this id and this UID: a client that was deleted and made again is another one.
    pub fn get(&self, id: &ClientId, uid: &str) -> Option<&Arc<Client>> {
        self.0.get(&(id.clone(), uid.to_owned()))
    }
}

impl Client {
    pub fn new(client: &PolicyClient, limits: &Limits) -> Self {
        Self {
            id: client.id.clone(),
            fingerprint: Fingerprint::of(&[client.id.as_str(), &client.uid]),
            tools: client.tools.iter().cloned().collect(),
            max_records: client.max_records_per_query,
            allow_write: client.allow_write,
            conditions: Conditions::new(&client.conditions),
            limits: ClientLimits::new(client, limits),
            suspended: client.suspended,
            expires_at: client.expires_at.as_ref().map(|time| time.0.as_second()),
        }
    }

    /// Whether its access ends at some time.
    pub fn can_expire(&self) -> bool {
        self.expires_at.is_some()
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

impl ClientLimits {
    fn new(client: &PolicyClient, limits: &Limits) -> Self {
        let own: Vec<Rate> = client.limits.iter().copied().map(Rate::from).collect();
        let global = Rate::from(limits.global.rate);
        // A client whose share is less than one call could never call.
        let share = (u64::from(global.requests) * u64::from(limits.global.max_share) / 100).max(1);
        let allowance = |rate: &Rate| Rate { requests: rate.requests.saturating_mul(ALLOWANCE), ..*rate };
        Self {
            share: Rate { requests: u32::try_from(share).unwrap_or(u32::MAX), ..global },
            global,
            allowance: own.iter().map(allowance).collect(),
            own,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(json: &str) -> Client {
        let client: PolicyClient = serde_json::from_str(json).unwrap();
        Client::new(&client, &Limits::default())
    }

    #[test]
    fn a_client_has_a_share_of_all_calls_and_an_allowance_of_ten_times_its_rates() {
        let client = client(
            r#"{"id":"a","uid":"u","tools":["t"],"maxRecordsPerQuery":10,"limits":[{"requests":61,"per":"1m"},{"requests":5,"per":"1s"}]}"#,
        );
        let rates = |rates: &[Rate]| -> Vec<(u32, u64)> {
            rates.iter().map(|rate| (rate.requests, rate.per.as_secs())).collect()
        };
        let ClientLimits { own, share, global, allowance } = &client.limits;
        assert_eq!(rates(own), [(61, 60), (5, 1)]);
        assert_eq!(rates(&[*share, *global]), [(250, 60), (500, 60)]);
        assert_eq!(rates(allowance), [(610, 60), (50, 1)]);
    }

    #[test]
    fn a_client_is_refused_once_it_expires_or_is_suspended() {
        let rest = r#""id":"a","uid":"u","tools":[],"maxRecordsPerQuery":1,"limits":[{"requests":60,"per":"1m"}]"#;
        let expiring = client(&format!(r#"{{{rest},"expiresAt":"1970-01-01T00:01:00Z"}}"#));
        assert_eq!(expiring.state(Duration::from_secs(59)), ClientState::Active);
        assert_eq!(expiring.state(Duration::from_secs(60)), ClientState::Expired);
        let suspended = client(&format!(r#"{{{rest},"suspended":true}}"#));
        assert_eq!(suspended.state(Duration::ZERO), ClientState::Suspended);
    }
}
