//! Services in the manners of real ones: what each is asked, and what becomes of its response. All of them are one backend, and each
//! has a tool.

use portcullis_tests::backend::{Backend, Gate, Received, Reply};
use serde_json::{Value, json};

use crate::expected::*;
use crate::fixtures::*;

/// What gzip makes of `{"zipped":true}`.
const ZIPPED: &[u8] =
    b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\xff\xab\x56\xaa\xca\x2c\x28\x48\x4d\x51\xb2\x2a\x29\x2a\x4d\xad\x05\x00\x84\x28\xbc\x08\x0f\x00\x00\x00";

/// What zlib makes of `{"deflated":true}`, and the same without the header and the checksum.
const ZLIB: &[u8] =
    b"\x78\x9c\xab\x56\x4a\x49\x4d\xcb\x49\x2c\x49\x4d\x51\xb2\x2a\x29\x2a\x4d\xad\x05\x00\x38\x58\x06\x70";
const DEFLATED: &[u8] = b"\xab\x56\x4a\x49\x4d\xcb\x49\x2c\x49\x4d\x51\xb2\x2a\x29\x2a\x4d\xad\x05\x00";

/// A service, its tool, and a call of it.
struct Service {
    /// The name of the tool.
    name: &'static str,
    /// `http`, and whatever else the tool has.
    tool: Value,
    arguments: Value,
    /// The request line without the version, and the body.
    asked: (&'static str, &'static str),
    /// The status, the headers and the body.
    response: Vec<u8>,
    /// The result.
    answer: Value,
}

/// A response with a length.
fn with(head: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let length = body.as_ref().len();
    let head = format!("HTTP/1.1 {head}\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

fn json_with(body: impl AsRef<[u8]>) -> Vec<u8> {
    with("200 OK\r\nContent-Type: application/json", body)
}

fn http(method: &str, path: &str) -> Value {
    json!({"http": {"method": method, "path": path}})
}

/// The result of a tool that answers with JSON.
fn structured(value: &Value) -> Value {
    let object = if value.is_object() { value.clone() } else { json!({"result": value}) };
    json!({"content": [{"type": "text", "text": value.to_string()}], "structuredContent": object, "isError": false})
}

fn text(text: &str) -> Value {
    json!({"content": [{"type": "text", "text": text}], "isError": false})
}

/// The same result, of which only two records are left.
fn trimmed(value: &Value) -> Value {
    let mut result = structured(value);
    let note = "Only the first 2 records are shown: this client may not be given more by one call.";
    result["content"].as_array_mut().unwrap().push(json!({"type": "text", "text": note}));
    result["_meta"] = json!({"portcullis.dev/truncated": true});
    result
}

/// Services by the form of their responses.
fn responders() -> Vec<Service> {
    let get = |name, tool: Value, request: &'static str, response, answer| {
        let arguments = json!({});
        Service { name, tool, arguments, asked: (request, ""), response, answer }
    };
    let listed = |path: &str, records: Value| json!({"http": {"method": "GET", "path": path}, "records": records});
    vec![
        get(
            "version as text",
            http("GET", "/version"),
            "GET /version",
            with("200 OK\r\nContent-Type: text/plain", "1.10 (build 7)\n"),
            text("1.10 (build 7)\n"),
        ),
        get(
            "a table in Latin-1",
            http("GET", "/export.csv"),
            "GET /export.csv",
            with("200 OK\r\nContent-Type: text/csv; charset=ISO-8859-1", b"name;city\r\nJos\xe9;K\xf6ln\r\n"),
            text("name;city\r\nJosé;Köln\r\n"),
        ),
        get(
            "XML",
            http("GET", "/feed"),
            "GET /feed",
            with("200 OK\r\nContent-Type: application/atom+xml", "<feed/>"),
            text("<feed/>"),
        ),
        get(
            "a log that begins like JSON, without a media type",
            http("GET", "/log"),
            "GET /log",
            with("200 OK", "[INFO] up"),
            text("[INFO] up"),
        ),
        get(
            "JSON that is said to be a web page",
            http("GET", "/old"),
            "GET /old",
            with("200 OK\r\nContent-Type: text/html", r#"{"ok":1}"#),
            structured(&json!({"ok": 1})),
        ),
        get(
            "a byte order mark",
            http("GET", "/bom"),
            "GET /bom",
            json_with(b"\xef\xbb\xbf{\"ok\":true}"),
            structured(&json!({"ok": true})),
        ),
        get(
            "gzip",
            http("GET", "/zipped"),
            "GET /zipped",
            with("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: gzip", ZIPPED),
            structured(&json!({"zipped": true})),
        ),
        get(
            "deflate",
            http("GET", "/zlib"),
            "GET /zlib",
            with("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: deflate", ZLIB),
            structured(&json!({"deflated": true})),
        ),
        get(
            "deflate without its header",
            http("GET", "/deflated"),
            "GET /deflated",
            with("200 OK\r\nContent-Type: application/json\r\nContent-Encoding: deflate", DEFLATED),
            structured(&json!({"deflated": true})),
        ),
        get(
            "numbers of Python",
            http("GET", "/mean"),
            "GET /mean",
            json_with(r#"{"mean":NaN,"max":-Infinity}"#),
            tool_error(
                "Backend 'api' returned a response that is not valid JSON: it has NaN or Infinity, which JSON does not have.",
            ),
        ),
        get(
            "a list at the root",
            listed("/all", json!({"path": ""})),
            "GET /all",
            json_with("[1,2,3]"),
            trimmed(&json!([1, 2])),
        ),
        get(
            "nulls everywhere",
            listed("/nulls", json!({"path": "/page/items", "cursorPath": "/page/next"})),
            "GET /nulls",
            json_with(r#"{"page":{"items":null,"next":null}}"#),
            structured(&json!({"page": {"items": null, "next": null}})),
        ),
        get(
            "a cursor in a list beside the records",
            listed("/links", json!({"path": "/data/items", "cursorPath": "/links/0"})),
            "GET /links",
            json_with(r#"{"data":{"items":[1,2,3]},"links":["/links?after=3","/help"]}"#),
            trimmed(&json!({"links": ["/help"], "data": {"items": [1, 2]}})),
        ),
        get(
            "half a character, and a key twice",
            listed("/careless", json!({"path": "/items"})),
            "GET /careless",
            json_with(r#"{"items":["canary",1,2],"items":["\ud83d",2]}"#),
            json!({"content": [{"type": "text", "text": r#"{"items":["\ufffd",2]}"#}],
                "structuredContent": {"items": ["\u{fffd}", 2]}, "isError": false}),
        ),
        get(
            "numbers as strings",
            http("GET", "/prices"),
            "GET /prices",
            json_with(r#"{"id":"9007199254740993","price":"19.90"}"#),
            structured(&json!({"id": "9007199254740993", "price": "19.90"})),
        ),
        get(
            "HTTP/1.0 until the connection ends",
            http("GET", "/ancient"),
            "GET /ancient",
            b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n{\"ok\":true}".to_vec(),
            structured(&json!({"ok": true})),
        ),
        get(
            "chunks, with a trailer",
            http("GET", "/chunked"),
            "GET /chunked",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\n{\"ok\r\n7\r\n\":true}\r\n0\r\nX-Sum: 1\r\n\r\n"
                .to_vec(),
            structured(&json!({"ok": true})),
        ),
        get("slow", http("GET", "/slow"), "GET /slow", json_with("[]"), structured(&json!([]))),
        get(
            "an error as a web page",
            http("GET", "/down"),
            "GET /down",
            with(
                "502 Bad Gateway\r\nContent-Type: text/html",
                "<html><head><title>502 Bad Gateway</title><style>p{}</style></head><body><p>nginx</p></body></html>",
            ),
            tool_error("Backend 'api' responded with status 502: 502 Bad Gateway nginx"),
        ),
        get(
            "an error as problem+json",
            http("GET", "/problem"),
            "GET /problem",
            with("422 Unprocessable Content\r\nContent-Type: application/problem+json", r#"{"title":"No such city"}"#),
            tool_error(r#"Backend 'api' responded with status 422: {"title":"No such city"}"#),
        ),
        get(
            "a limit of its own",
            http("GET", "/limited"),
            "GET /limited",
            with("429 Too Many Requests\r\nRetry-After: 7\r\nContent-Type: text/plain", "slow down"),
            json!({
                "content": [{"type": "text",
                    "text": "Backend 'api' responded with status 429: slow down. Retry after 7 seconds."}],
                "isError": true, "_meta": {"portcullis.dev/retryAfter": 7},
            }),
        ),
    ]
}

/// Responses in the less usual forms that HTTP allows, and what they mean to a caller.
fn unusual_responders() -> Vec<Service> {
    let ok = || structured(&json!({"ok": true}));
    let zipped = "200 OK\r\nContent-Type: application/json\r\nContent-Encoding: x-gzip";
    [
        ("hints before the response", "GET /hints", interim("103 Early Hints\r\nLink: </a>"), ok()),
        ("permission to continue that nobody asked for", "GET /continue", interim("100 Continue"), ok()),
        (
            "a redirect, which is not followed",
            "GET /moved",
            with("302 Found\r\nLocation: /login\r\nContent-Type: text/html", "<p>Moved to /login</p>"),
            tool_error("Backend 'api' responded with status 302: Moved to /login"),
        ),
        (
            "a redirect without a text",
            "GET /elsewhere",
            with("307 Temporary Redirect\r\nLocation: /login", ""),
            tool_error("Backend 'api' responded with status 307."),
        ),
        (
            "a part",
            "GET /part",
            with("206 Partial Content\r\nContent-Type: application/json\r\nContent-Range: items 0-1/9", "[1,2]"),
            structured(&json!([1, 2])),
        ),
        (
            "chunks with extensions",
            "GET /extended",
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4;a=b\r\n{\"ok\r\n7;c\r\n\":true}\r\n0\r\n\r\n"
                .to_vec(),
            ok(),
        ),
        (
            "a charset that does not exist",
            "GET /charset",
            with("200 OK\r\nContent-Type: text/plain; charset=utf-9", "caf\u{e9}!"),
            text("caf\u{e9}!"),
        ),
        (
            "a line of JSON for each record",
            "GET /lines",
            with("200 OK\r\nContent-Type: application/x-ndjson", "{\"a\":1}\n{\"a\":2}\n"),
            text("{\"a\":1}\n{\"a\":2}\n"),
        ),
        ("a media type of a vendor", "GET /vendor", with("200 OK\r\nContent-Type: application/vnd.api+json; charset=\"UTF-8\"", r#"{"ok":true}"#), ok()),
        ("gzip by its old name", "GET /packed", with(zipped, ZIPPED), structured(&json!({"zipped": true}))),
        (
            "an error within a success",
            "GET /inside",
            json_with(r#"{"error":{"code":17}}"#),
            structured(&json!({"error": {"code": 17}})),
        ),
        ("accepted, and nothing yet", "GET /accepted", with("202 Accepted\r\nLocation: /jobs/7", ""), structured(&json!(null))),
    ]
    .map(|(name, line, response, answer)| {
        let tool = http("GET", line.strip_prefix("GET ").unwrap());
        Service { name, tool, arguments: json!({}), asked: (line, ""), response, answer }
    })
    .into()
}

/// A response that follows an interim one with this status and these headers.
fn interim(head: &str) -> Vec<u8> {
    [format!("HTTP/1.1 {head}\r\n\r\n").as_bytes(), &json_with(r#"{"ok":true}"#)].concat()
}

/// Services by the form of their requests. All of them answer with nothing.
fn receivers() -> Vec<Service> {
    let send = |name, request: Value, arguments, line: &'static str, body: &'static str| Service {
        name,
        tool: json!({"http": request}),
        arguments,
        asked: (line, body),
        response: with("204 No Content", ""),
        answer: structured(&json!(null)),
    };
    vec![
        send("nothing to send", json!({"method": "POST", "path": "/jobs/start"}), json!({}), "POST /jobs/start", ""),
        send(
            "a whole number in a path",
            json!({"method": "DELETE", "path": "/things/{a}"}),
            json!({"a": 5.0}),
            "DELETE /things/5",
            "",
        ),
        send(
            "matrix parameters",
            json!({"method": "DELETE", "path": "/maps;zoom={a};at={b}"}),
            json!({"a": 1e3, "b": "x;y"}),
            "DELETE /maps;zoom=1000;at=x%3By",
            "",
        ),
        send(
            "the path of a project in a segment",
            json!({"method": "DELETE", "path": "/projects/{a}", "encodedSlashes": ["a"]}),
            json!({"a": "group/name"}),
            "DELETE /projects/group%2Fname",
            "",
        ),
        send(
            "commas, brackets and repeated pairs",
            json!({"method": "DELETE", "path": "/search", "styles": {"ids": "Comma", "filter": "DeepObject"},
                "query": {"ids": "{a}", "filter": "{b}", "tag": "{a}", "none": "x-{c}"}}),
            json!({"a": [1.0, "b,c"], "b": {"city": "Köln", "zip": null}, "c": null}),
            "DELETE /search?filter%5Bcity%5D=K%C3%B6ln&ids=1,b%2Cc&tag=1&tag=b%2Cc",
            "",
        ),
        send(
            "a form",
            json!({"method": "POST", "path": "/charges", "form": {"amount": "{a}", "note": "for {b}", "gone": "{c}"}}),
            json!({"a": 10.0, "b": "a&b=c"}),
            "POST /charges",
            "amount=10&note=for%20a%26b%3Dc",
        ),
        send(
            "a list as the body",
            json!({"method": "PATCH", "path": "/items", "body": [{"op": "add", "value": "{a}"}, "{b}"]}),
            json!({"a": {"n": 1.0}, "b": null}),
            "PATCH /items",
            r#"[{"op":"add","value":{"n":1.0}}]"#,
        ),
        send(
            "an argument as the body",
            json!({"method": "PUT", "path": "/items", "body": "{a}"}),
            json!({"a": [{"n": null}]}),
            "PUT /items",
            r#"[{"n":null}]"#,
        ),
        send(
            "an upload",
            json!({"method": "POST", "path": "/upload", "multipart": [{"name": "title", "value": "{a}"},
                {"name": "file", "value": "{b}", "filename": "{c}.csv", "contentType": "text/csv"}]}),
            json!({"a": "t", "b": "1;2", "c": "x"}),
            "POST /upload",
            "--B\r\nContent-Disposition: form-data; name=\"title\"\r\n\r\nt\r\n\
             --B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.csv\"\r\nContent-Type: text/csv\r\n\r\n1;2\r\n--B--\r\n",
        ),
        send(
            "an image in base64",
            json!({"method": "POST", "path": "/images", "multipart": [
                {"name": "file", "value": "{a}", "encoding": "Base64", "filename": "{b}", "contentType": "image/svg+xml"}]}),
            json!({"a": "PHN2Zy8+", "b": "a.svg"}),
            "POST /images",
            "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.svg\"\r\nContent-Type: image/svg+xml\r\n\r\n<svg/>\r\n--B--\r\n",
        ),
    ]
}

/// A tool with the arguments `a`, `b` and `c`.
fn tool(n: usize, service: &Service) -> Value {
    let mut tool = service.tool.clone();
    let uses = |name: &str| tool["http"]["path"].as_str().unwrap().contains(&format!("{{{name}}}"));
    let required: Vec<&str> = ["a", "b", "c"].into_iter().filter(|name| uses(name)).collect();
    tool["inputSchema"] = json!({"type": "object", "required": required, "properties": {"a": {}, "b": {}, "c": {}}});
    tool["name"] = json!(format!("t{n}"));
    tool["description"] = json!(service.name);
    tool["backend"] = json!("api");
    tool
}

/// What a service received, with its boundary as `B`.
fn asked(received: &Received) -> (String, String) {
    let body = String::from_utf8(received.body.clone()).unwrap();
    let media_type = received.header("content-type").unwrap_or_default();
    let body = match media_type.strip_prefix("multipart/form-data; boundary=") {
        Some(boundary) => body.replace(boundary, "B"),
        None => body,
    };
    let length = received.header("content-length").map(str::to_owned);
    let has_length = !matches!(received.method.as_str(), "POST" | "PUT" | "PATCH")
        || length == Some(received.body.len().to_string());
    assert!(has_length, "{}: {length:?}", received.target);
    (format!("{} {}", received.method, received.target), body)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_service_is_asked_as_it_wants_and_its_response_is_a_result() {
    let services: Vec<Service> = responders().into_iter().chain(unusual_responders()).chain(receivers()).collect();
    let gate = Gate::closed();
    let replies: Vec<_> = services.iter().map(|service| (service.asked.0, service.response.clone())).collect();
    let slow = gate.clone();
    let backend = Backend::start(move |received| {
        let line = format!("{} {}", received.method, received.target);
        match replies.iter().find(|(asked, _)| *asked == line) {
            Some(("GET /slow", bytes)) => Reply::Bytes(bytes.clone()).held(&slow),
            Some((_, bytes)) => Reply::Bytes(bytes.clone()),
            None => Reply::Json(404, json!(line)),
        }
    })
    .await
    .unwrap();
    let mut document = document(&backend.url());
    document["spec"]["tools"] = services.iter().enumerate().map(|(n, service)| tool(n, service)).collect();
    let names: Vec<String> = (0..services.len()).map(|n| format!("t{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    document["clients"] = json!([client("agent", &names, 2, true)]);
    let server = start(&document).await;
    tokio::spawn(async move {
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
        gate.open();
    });
    for (n, service) in services.iter().enumerate() {
        let found = server.call(AGENT, names[n], service.arguments.clone()).await.unwrap();
        let received: Vec<_> = backend.take().iter().map(asked).collect();
        let (line, body) = service.asked;
        assert_eq!(received, [(line.to_owned(), body.to_owned())], "{}: {}", service.name, found.text());
        assert_eq!(found.to_value(), response(200, rpc_result(service.answer.clone())), "{}", service.name);
    }
}
