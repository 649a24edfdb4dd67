//! An agent inside a test cluster: it calls one tool, once or at a rate, and prints one JSON line for each response. It is a crate
//! of its own so that its image is one small static binary without a Kubernetes client. What the responses should be is for
//! the test to check.

use std::time::{Duration, Instant};

use clap::Parser;
use jiff::Timestamp;
use reqwest::{Client, Response, header};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

/// Calls a tool and prints a line for each call: `at`, `millis`, and `status`, `retryAfter`, `body` or `error`.
#[derive(Parser)]
#[command(name = "e2e-agent")]
struct Cli {
    /// The server's MCP endpoint. Without it, the agent waits until it is stopped; `exec` can start others beside it.
    #[arg(long, requires_all = ["key", "tool"])]
    url: Option<String>,
    /// The client's API key.
    #[arg(long, env = "API_KEY", hide_env_values = true, default_value = "")]
    key: String,
    /// The tool's name.
    #[arg(long, default_value = "")]
    tool: String,
    /// The tool's arguments, a JSON object.
    #[arg(long, default_value = "{}", value_parser = arguments)]
    arguments: Value,
    /// How many calls to make; without it, the agent makes calls until it is stopped.
    #[arg(long)]
    count: Option<u64>,
    /// Milliseconds from the start of one call to the start of the next.
    #[arg(long, default_value_t = 0)]
    every: u64,
}

fn arguments(text: &str) -> Result<Value, String> {
    serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cli = Cli::parse();
    // A signal does not end the first process of a container unless the process handles it.
    let mut terminate = signal(SignalKind::terminate())?;
    let Some(url) = &cli.url else {
        terminate.recv().await;
        return Ok(());
    };
    // A connection for each call, because a connection that is kept stays with one of the Service's pods.
    let client = Client::builder().pool_max_idle_per_host(0).timeout(Duration::from_secs(5)).build()?;
    let mut ticks = tokio::time::interval(Duration::from_millis(cli.every.max(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for _ in 0..cli.count.unwrap_or(u64::MAX) {
        tokio::select! {
            () = async { ticks.tick().await; print(&call(&client, url, &cli).await) } => {}
            _ = terminate.recv() => break,
        }
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "the lines are its output")]
fn print(line: &Value) {
    println!("{line}");
}

async fn call(client: &Client, url: &str, cli: &Cli) -> Value {
    let message = json!({
        "jsonrpc": "2.0",
        "id": 1,
        "method": "tools/call",
        "params": {"name": cli.tool, "arguments": cli.arguments},
    });
    let at = Timestamp::now().to_string();
    let began = Instant::now();
    let request =
        client.post(url).header("x-api-key", &cli.key).header(header::ACCEPT, "application/json, text/event-stream");
    let response = match request.json(&message).send().await {
        Ok(response) => read(response).await,
        Err(error) => Err(error),
    };
    let millis = began.elapsed().as_secs_f64() * 1000.0;
    match response {
        Ok((status, retry_after, body)) => {
            json!({"at": at, "millis": millis, "status": status, "retryAfter": retry_after, "body": body})
        }
        Err(error) => json!({"at": at, "millis": millis, "error": format!("{error:?}")}),
    }
}

async fn read(response: Response) -> Result<(u16, Option<String>, Value), reqwest::Error> {
    let status = response.status().as_u16();
    let retry_after = response.headers().get(header::RETRY_AFTER);
    let retry_after = retry_after.and_then(|value| value.to_str().ok()).map(str::to_owned);
    let text = response.text().await?;
    Ok((status, retry_after, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
