//! The two texts of a page of metrics, and which of them a reader asks for.
//!
//! The page is made in OpenMetrics 1.0. Whoever does not ask for that gets the older text of Prometheus, which every scraper reads.

/// The media type of OpenMetrics.
const OPEN_METRICS: &str = "application/openmetrics-text";

/// A page of metrics as it is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposition {
    /// The `Content-Type`.
    pub media_type: &'static str,
    pub text: String,
}

impl Exposition {
    /// The page of which this is the text in OpenMetrics, for a request with this `Accept`.
    pub fn new(open_metrics: String, accept: Option<&str>) -> Self {
        if accept.is_some_and(asks_for_open_metrics) {
            Self { media_type: "application/openmetrics-text; version=1.0.0; charset=utf-8", text: open_metrics }
        } else {
            Self { media_type: "text/plain; version=0.0.4; charset=utf-8", text: prometheus_text(&open_metrics) }
        }
    }
}

/// Whether `Accept` names OpenMetrics, and does not prefer plain text (RFC 9110, section 12.5.1).
fn asks_for_open_metrics(accept: &str) -> bool {
    quality(accept, OPEN_METRICS)
        .is_some_and(|asked| asked > 0.0 && asked >= quality(accept, "text/plain").unwrap_or(0.0))
}

/// The highest quality of a media type that `Accept` names.
fn quality(accept: &str, media_type: &str) -> Option<f32> {
    let qualities = accept.split(',').filter_map(|range| {
        let mut parts = range.split(';').map(str::trim);
        parts.next()?.eq_ignore_ascii_case(media_type).then_some(())?;
        let quality = parts.find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| value.trim().parse().unwrap_or(0.0))
        });
        Some(quality.unwrap_or(1.0))
    });
    qualities.reduce(f32::max)
}

/// The text of Prometheus 0.0.4. There a counter's family has the name of its samples, and there are no units and no end.
fn prometheus_text(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().peekable();
    while let Some(line) = lines.next() {
        let mut words = line.splitn(4, ' ');
        let (mark, keyword) = (words.next(), words.next());
        let is_counter = |line: &str| line.starts_with("# TYPE ") && line.ends_with(" counter");
        match (mark, keyword, words.next(), words.next()) {
            (Some("#"), Some("UNIT"), ..) | (Some("#"), Some("EOF"), ..) => continue,
            (Some("#"), Some(keyword @ ("HELP" | "TYPE")), Some(name), Some(rest)) => {
                // The type follows the help.
                let suffix = if is_counter(line) || (keyword == "HELP" && lines.peek().copied().is_some_and(is_counter))
                {
                    "_total"
                } else {
                    ""
                };
                text.extend(["# ", keyword, " ", name, suffix, " ", rest]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for (accept, expected) in [
            (prometheus, true),
            ("Application/OpenMetrics-Text", true),
            ("application/openmetrics-text; q=0.2, text/plain", false),
            ("application/openmetrics-text;q=0", false),
            ("application/openmetrics-text;q=x", false),
            ("text/plain", false),
            ("*/*", false),
            ("", false),
        ] {
            assert_eq!(asks_for_open_metrics(accept), expected, "{accept}");
        }
    }

    #[test]
    fn a_counter_has_the_name_of_its_samples_in_the_text_of_prometheus() {
        let page = "# HELP calls Calls, a counter.\n# TYPE calls counter\ncalls_total{tool=\"a b\"} 1\n\
            # HELP took_seconds Time.\n# TYPE took_seconds histogram\n# UNIT took_seconds seconds\ntook_seconds_sum 0.1\n# EOF\n";
        let text = "# HELP calls_total Calls, a counter.\n# TYPE calls_total counter\ncalls_total{tool=\"a b\"} 1\n\
            # HELP took_seconds Time.\n# TYPE took_seconds histogram\ntook_seconds_sum 0.1\n";
        assert_eq!(Exposition::new(page.into(), None).text, text);
        let asked = Exposition::new(page.into(), Some(OPEN_METRICS));
        assert_eq!((asked.media_type.starts_with(OPEN_METRICS), asked.text), (true, page.into()));
    }
}
