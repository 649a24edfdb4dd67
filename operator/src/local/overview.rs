//! What is printed once everything runs: where each server listens, and the files of the clients' credentials.

use std::{collections::BTreeMap, fmt::Write};

use portcullis_crds::NamespacedName;

use super::summary::{ClientSummary, Summary};
use crate::{credentials::KINDS, validate::Documents};

/// The overview of a summary, with the numbers of tools and clients in the documents that are in force.
pub(super) fn overview(summary: &Summary, in_force: &BTreeMap<NamespacedName, Documents>) -> String {
    let mut text = String::new();
    for server in &summary.servers {
        let name = NamespacedName::new(&server.namespace, &server.name);
        let policy = in_force.get(&name).map(|documents| &documents.policy);
        let tools = policy.map_or(0, |policy| policy.server().spec.tools.len());
        let clients = policy.map_or(0, |policy| policy.clients().len());
        let _ = writeln!(text, "\n  {name}  {}  ({tools} tools, {clients} clients)", server.url);
        let _ = writeln!(text, "  health: {}/health", server.admin);
    }
    let name = |client: &ClientSummary| NamespacedName::new(&client.namespace, &client.name).to_string();
    let width = summary.clients.iter().map(|client| name(client).len()).max().unwrap_or(0);
    for kind in KINDS {
        let clients = summary.clients.iter().filter_map(|client| Some((name(client), client.file(kind)?)));
        for (n, (name, file)) in clients.enumerate() {
            if n == 0 {
                let _ = writeln!(text, "\n{}:", kind.usage);
            }
            let _ = writeln!(text, "  {name:width$}  {}", file.display());
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::local::summary::ServerSummary;

    #[test]
    fn an_overview_names_each_server_and_each_file() {
        let server = |name: &str, port| {
            let address = |port| ([127, 0, 0, 1], port).into();
            ServerSummary::new(&NamespacedName::new("sales", name), address(port), address(port + 1000))
        };
        let client = |name: &str| {
            let file = format!("/state/keys/sales/{name}-key.key").into();
            ClientSummary::new(&NamespacedName::new("sales", name), [(&KINDS[0], file)].into_iter())
        };
        let summary = Summary {
            servers: vec![server("crm", 3000), server("erp", 3001)],
            clients: vec![client("bot"), client("reporting-agent")],
        };
        insta::assert_snapshot!(overview(&summary, &BTreeMap::new()), @r"

          sales/crm  http://127.0.0.1:3000/mcp  (0 tools, 0 clients)
          health: http://127.0.0.1:4000/health

          sales/erp  http://127.0.0.1:3001/mcp  (0 tools, 0 clients)
          health: http://127.0.0.1:4001/health

        API keys, for the header x-api-key or Authorization: Bearer:
          sales/bot              /state/keys/sales/bot-key.key
          sales/reporting-agent  /state/keys/sales/reporting-agent-key.key
        ");
    }
}
