//! The manifests of these tests.

/// A server with a backend that `--backend` replaces.
pub const WEATHER: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: weather}
spec:
  backends: [{name: forecasts, http: {url: "http://forecasts.weather.svc:8080"}}]
  replicas: 3
  tools:
    - name: forecast
      description: The weather of tomorrow in a city.
      backend: forecasts
      inputSchema: {type: object, required: [city], properties: {city: {type: string}}}
      http: {method: GET, path: /forecast, query: {city: "{city}"}}
"#;

/// A server without an HTTP backend.
pub const LIBRARY: &str = r#"
apiVersion: portcullis.dev/v1alpha1
kind: McpServer
metadata: {name: library, namespace: town}
spec:
  backends: [{name: shelf, static: {}}]
  tools:
    - {name: opening_hours, description: When it is open., backend: shelf, static: {text: "9 to 5"}}
    - {name: lost_books, description: What is lost., backend: shelf, static: {structuredContent: {books: []}}}
  clients: [{namespaces: {from: All}}]
"#;

/// A client of `weather`.
pub const FORECASTER: &str = "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {name: forecaster}
spec:
  access: [{serverRef: {name: weather}, tools: ['*'], maxRecordsPerQuery: 10}]
  credentials: {apiKey: {secretName: forecaster-key}}
";

/// A client of `library` with these tools.
pub fn client(name: &str, tools: &str) -> String {
    format!(
        "
apiVersion: portcullis.dev/v1alpha1
kind: McpClient
metadata: {{name: {name}, namespace: town}}
spec:
  access:
    - serverRef: {{name: library}}
      tools: [{tools}]
      maxRecordsPerQuery: 10
  credentials: {{apiKey: {{secretName: {name}-key}}}}
"
    )
}
