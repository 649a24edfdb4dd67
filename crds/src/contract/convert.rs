//! From the custom resources to the contract: the only place that knows both.

use std::collections::BTreeMap;

use super::{
    admission::{Allowance, ClientRule, NamespaceSelection, NamespacesFrom},
    argument_condition::ArgumentCondition,
    backend::{Backend, BackendKind, HttpBackend},
    backend_credentials::{BackendCredentials, BackendHeader, ClientCredentials, HeaderValue, IdentityValue},
    limits::{GlobalLimit, Limits, Rate},
    listing::{Icon, Theme, ToolAnnotations},
    server_half::ServerSpec,
    settings::{
        ApiKeyAuthentication, Audit, AuditArguments, Authentication, KeyHeader, LogLevel, MethodMode, OnOverflow,
    },
    tool::{
        Effect, FormPart, HttpMethod, HttpTool, PartEncoding, Records, StaticTool, Style, Tool, ToolAudit, ToolKind,
    },
};
use crate::{
    Duration, Finding, Findings, McpServerSpec, server,
    union::{NotExactlyOne, exactly_one},
};

/// The contract's form of an McpServer's spec, with a finding for each union that does not have exactly one member and each rate
/// that cannot be enforced. A substitute takes the place of each of them, so that the rest of the spec can be checked too: if
/// there is a finding, the result is not to be published. Paths begin with `spec`.
pub fn server_spec(spec: &McpServerSpec) -> (ServerSpec, Findings) {
    let mut findings = Findings::default();
    let mut backends = Vec::with_capacity(spec.backends.len());
    for (n, it) in spec.backends.iter().enumerate() {
        let kind = backend_kind(it).map_err(|error| Finding::new(format!("spec.backends[{n}]"), error.to_string()));
        let kind = findings.keep(kind).unwrap_or_else(|| substitute_backend(it, spec));
        let (headers, credentials) = outgoing(it, &format!("spec.backends[{n}]"), &mut findings);
        backends.push(Backend { name: it.name.clone(), critical: it.critical, kind, headers, credentials });
    }
    let mut tools = Vec::with_capacity(spec.tools.len());
    for (n, it) in spec.tools.iter().enumerate() {
        let kind = tool_kind(it).map_err(|error| Finding::new(format!("spec.tools[{n}]"), error.to_string()));
        let kind = findings.keep(kind).unwrap_or_else(|| substitute_tool(it, &backends));
        tools.push(tool(it, kind));
    }
    let clients = spec.clients.iter().enumerate();
    let clients = clients.map(|(n, it)| client_rule(it, &format!("spec.clients[{n}]"), &mut findings)).collect();
    let limits = limits(&spec.limits, &mut findings);
    let spec = ServerSpec {
        backends,
        tools,
        authentication: authentication(&spec.authentication),
        clients,
        limits,
        audit: audit(spec.audit),
        log_level: log_level(spec.log_level),
    };
    (spec, findings)
}

/// The contract's form of rules that may have errors. A rate that cannot be enforced is left out.
pub fn client_rules(rules: &[server::ClientRule]) -> Vec<ClientRule> {
    rules.iter().map(|rule| client_rule(rule, "", &mut Findings::default())).collect()
}

/// The contract's form of a rate at the path `at`.
///
/// # Errors
/// Returns an error that names the field if the rate cannot be enforced.
pub fn rate(rate: server::Rate, at: &str) -> Result<Rate, Finding> {
    Rate::new(rate.requests, rate.per).map_err(|error| Finding::new(format!("{at}.{}", error.field), error.allowed))
}

fn backend_kind(backend: &server::Backend) -> Result<BackendKind, NotExactlyOne> {
    let http = backend.http.as_ref();
    let http = http.map(|http| HttpBackend { url: http.url.clone(), health_path: http.health_path.clone() });
    exactly_one([
        ("http", http.map(BackendKind::Http)),
        ("static", backend.fixed.map(|server::StaticBackend {}| BackendKind::Static)),
    ])
}

/// What the backend is told beside the requests of its tools, without what is not exactly one of its members.
fn outgoing(
    backend: &server::Backend,
    at: &str,
    findings: &mut Findings,
) -> (Vec<BackendHeader>, Option<BackendCredentials>) {
    let mut headers = Vec::with_capacity(backend.headers.len());
    for (n, header) in backend.headers.iter().enumerate() {
        let value = header_value(header).map_err(|error| Finding::new(format!("{at}.headers[{n}]"), error.to_string()));
        headers.extend(findings.keep(value).map(|value| BackendHeader { name: header.name.clone(), value }));
    }
    let credentials = backend.credentials.as_ref().map(|it| {
        let of_header = |it: &server::HeaderSecretRef| BackendCredentials::Header(it.header.clone(), it.secret());
        let one = exactly_one([
            ("bearerSecretRef", it.bearer_secret_ref.clone().map(BackendCredentials::Bearer)),
            ("headerSecretRef", it.header_secret_ref.as_ref().map(of_header)),
            ("clientCredentials", it.client_credentials.as_ref().map(client_credentials)),
        ]);
        one.map_err(|error| Finding::new(format!("{at}.credentials"), error.to_string()))
    });
    (headers, credentials.and_then(|credentials| findings.keep(credentials)))
}

fn client_credentials(client: &server::ClientCredentials) -> BackendCredentials {
    let server::ClientCredentials { token_url, client_id, client_secret_ref, audience, scopes } = client.clone();
    let mut scopes = scopes;
    scopes.sort();
    BackendCredentials::ClientCredentials(ClientCredentials {
        token_url,
        client_id,
        client_secret_ref,
        audience,
        scopes,
    })
}

fn header_value(header: &server::BackendHeader) -> Result<HeaderValue, NotExactlyOne> {
    let from = header.value_from.as_ref().map(|from| {
        let identity = from.identity.map(|server::IdentityValue::ClientId| IdentityValue::ClientId);
        exactly_one([
            ("valueFrom.secretKeyRef", from.secret_key_ref.clone().map(HeaderValue::Secret)),
            ("valueFrom.identity", identity.map(HeaderValue::Identity)),
        ])
    });
    exactly_one([("value", header.value.clone().map(HeaderValue::Literal)), ("valueFrom", from.transpose()?)])
}

/// The kind that the backend's tools have, without an error of its own.
fn substitute_backend(backend: &server::Backend, spec: &McpServerSpec) -> BackendKind {
    let is_http = spec.tools.iter().any(|tool| tool.backend == backend.name && tool.http.is_some());
    let http = HttpBackend { url: "http://substitute".into(), health_path: None };
    if is_http { BackendKind::Http(http) } else { BackendKind::Static }
}

fn tool_kind(tool: &server::Tool) -> Result<ToolKind, NotExactlyOne> {
    exactly_one([
        ("http", tool.http.as_ref().map(|http| ToolKind::Http(http_tool(http)))),
        ("static", tool.fixed.as_ref().map(|fixed| ToolKind::Static(static_tool(fixed)))),
    ])
}

/// The kind that the tool's backend has, without an error of its own.
fn substitute_tool(tool: &server::Tool, backends: &[Backend]) -> ToolKind {
    match backends.iter().find(|backend| backend.name == tool.backend).map(|backend| &backend.kind) {
        Some(BackendKind::Http(_)) => {
            let (method, path) = (HttpMethod::Get, "/".into());
            let (encoded_slashes, query, styles) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
            ToolKind::Http(HttpTool {
                method,
                path,
                encoded_slashes,
                query,
                styles,
                body: None,
                form: None,
                multipart: None,
            })
        }
        Some(BackendKind::Static) | None => {
            ToolKind::Static(StaticTool { structured_content: None, text: Some(String::new()) })
        }
    }
}

fn tool(tool: &server::Tool, kind: ToolKind) -> Tool {
    Tool {
        name: tool.name.clone(),
        title: tool.title.clone(),
        description: tool.description.clone(),
        backend: tool.backend.clone(),
        stated_effect: tool.effect.map(effect),
        expensive: tool.expensive,
        timeout: tool.timeout,
        input_schema: tool.input_schema.clone(),
        output_schema: tool.output_schema.clone(),
        annotations: tool.annotations.map(annotations),
        icons: tool.icons.iter().map(icon).collect(),
        kind,
        records: tool.records.as_ref().map(|records| Records {
            path: records.path.clone(),
            limit_argument: records.limit_argument.clone(),
            cursor_path: records.cursor_path.clone(),
        }),
        audit: tool.audit.as_ref().map(|audit| ToolAudit { values: audit.values.clone() }),
    }
}

fn annotations(annotations: server::ToolAnnotations) -> ToolAnnotations {
    let server::ToolAnnotations { destructive_hint, idempotent_hint, open_world_hint } = annotations;
    ToolAnnotations { destructive_hint, idempotent_hint, open_world_hint }
}

fn icon(icon: &server::Icon) -> Icon {
    let server::Icon { src, mime_type, sizes, theme } = icon.clone();
    let theme = theme.map(|theme| match theme {
        server::Theme::Light => Theme::Light,
        server::Theme::Dark => Theme::Dark,
    });
    Icon { src, mime_type, sizes, theme }
}

fn http_tool(tool: &server::HttpTool) -> HttpTool {
    let method = match tool.method {
        server::HttpMethod::Get => HttpMethod::Get,
        server::HttpMethod::Head => HttpMethod::Head,
        server::HttpMethod::Post => HttpMethod::Post,
        server::HttpMethod::Put => HttpMethod::Put,
        server::HttpMethod::Patch => HttpMethod::Patch,
        server::HttpMethod::Delete => HttpMethod::Delete,
    };
    let parts = |parts: &Vec<server::FormPart>| parts.iter().map(form_part).collect();
    HttpTool {
        method,
        path: tool.path.clone(),
        encoded_slashes: tool.encoded_slashes.clone(),
        query: tool.query.clone(),
        styles: tool.styles.iter().map(|(name, it)| (name.clone(), style(*it))).collect(),
        body: tool.body.clone(),
        form: tool.form.clone(),
        multipart: tool.multipart.as_ref().map(parts),
    }
}

fn form_part(part: &server::FormPart) -> FormPart {
    let server::FormPart { name, value, encoding, filename, content_type } = part.clone();
    let encoding = match encoding {
        server::PartEncoding::Text => PartEncoding::Text,
        server::PartEncoding::Base64 => PartEncoding::Base64,
    };
    FormPart { name, value, encoding, filename, content_type }
}

fn style(style: server::Style) -> Style {
    match style {
        server::Style::Repeat => Style::Repeat,
        server::Style::Comma => Style::Comma,
        server::Style::DeepObject => Style::DeepObject,
    }
}

fn static_tool(tool: &server::StaticTool) -> StaticTool {
    StaticTool { structured_content: tool.structured_content.clone(), text: tool.text.clone() }
}

fn effect(effect: server::Effect) -> Effect {
    match effect {
        server::Effect::Read => Effect::Read,
        server::Effect::Write => Effect::Write,
    }
}

fn client_rule(rule: &server::ClientRule, at: &str, findings: &mut Findings) -> ClientRule {
    let server::Allowance { tools, effects, max_records_per_query, conditions, limits } = &rule.allow;
    ClientRule {
        namespaces: NamespaceSelection {
            from: match rule.namespaces.from {
                server::NamespacesFrom::Same => NamespacesFrom::Same,
                server::NamespacesFrom::All => NamespacesFrom::All,
            },
        },
        allow: Allowance {
            tools: tools.clone(),
            effects: effects.iter().copied().map(effect).collect(),
            max_records_per_query: *max_records_per_query,
            conditions: ArgumentCondition::all_of(conditions, &format!("{at}.allow.where"), findings),
            limits: limits.and_then(|limits| findings.keep(rate(limits, &format!("{at}.allow.limits")))),
        },
        max_clients: rule.max_clients,
    }
}

fn limits(limits: &server::Limits, findings: &mut Findings) -> Limits {
    let server::Limits { global, per_client, expensive_tools } = *limits;
    let mut checked = |limit: server::Rate, name| {
        let substitute = Rate { requests: limit.requests.max(1), per: Duration::from_secs(60) };
        findings.keep(rate(limit, &format!("spec.limits.{name}"))).unwrap_or(substitute)
    };
    Limits {
        global: GlobalLimit { rate: checked(global.rate(), "global"), max_share: global.max_share },
        per_client: checked(per_client, "perClient"),
        expensive_tools: checked(expensive_tools, "expensiveTools"),
    }
}

fn authentication(authentication: &server::Authentication) -> Authentication {
    let mode = match authentication.api_key.mode {
        server::MethodMode::Optional => MethodMode::Optional,
        server::MethodMode::Off => MethodMode::Off,
    };
    let header = match authentication.api_key.header {
        server::KeyHeader::Any => KeyHeader::Any,
        server::KeyHeader::XApiKey => KeyHeader::XApiKey,
        server::KeyHeader::Bearer => KeyHeader::Bearer,
    };
    Authentication { api_key: ApiKeyAuthentication { mode, header } }
}

fn audit(audit: server::Audit) -> Audit {
    Audit {
        arguments: match audit.arguments {
            server::AuditArguments::Shape => AuditArguments::Shape,
            server::AuditArguments::None => AuditArguments::None,
        },
        on_overflow: match audit.on_overflow {
            server::OnOverflow::Refuse => OnOverflow::Refuse,
            server::OnOverflow::Drop => OnOverflow::Drop,
        },
    }
}

fn log_level(level: server::LogLevel) -> LogLevel {
    match level {
        server::LogLevel::Error => LogLevel::Error,
        server::LogLevel::Warn => LogLevel::Warn,
        server::LogLevel::Info => LogLevel::Info,
        server::LogLevel::Debug => LogLevel::Debug,
    }
}
