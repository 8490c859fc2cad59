//! The status page: one sentence that says how sign-in is, and what it rests on.
//!
//! Everything is written here and escaped; the browser loads a style and a script from this server and nothing from
//! elsewhere. The script only asks for the page again. It names no person.

mod sentence;

use std::fmt::Write as _;

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::Shared;
use super::view::{SourceStatus, View};
use crate::action::Incident;
use crate::clock;
use crate::event::Timestamp;
use sentence::Sentence;

/// The most incidents that the page lists; the API has them all.
const MAX_INCIDENTS: usize = 20;

/// `/`.
pub(super) async fn page(State(shared): State<Shared>) -> Html<String> {
    Html(render(&shared.view(), clock::now()))
}

/// `/page.css`.
pub(super) async fn style() -> Response {
    asset("text/css; charset=utf-8", include_str!("page.css"))
}

/// `/page.js`.
pub(super) async fn script() -> Response {
    asset("text/javascript; charset=utf-8", include_str!("page.js"))
}

fn asset(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

fn render(view: &View, now: Timestamp) -> String {
    let Sentence { tone, text, why } = Sentence::of(view);
    let orgs = view.status.orgs.iter().map(|org| escape(org.as_str())).collect::<Vec<_>>().join(", ");
    let title = escape(&text);
    let mut main = format!("<main class=\"{}\">\n<h1 role=\"status\">{title}</h1>\n", tone.class());
    if !why.is_empty() {
        main += &format!("<p class=\"why\">{}</p>\n", escape(&why));
    }
    main += &incidents(&view.incidents, now);
    main += &sources(&view.status.sources);
    main += &counts(view);
    main += "</main>";
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title}</title>\n\
         <link rel=\"stylesheet\" href=\"/page.css\">\n<script src=\"/page.js\" defer></script>\n</head>\n<body>\n\
         <header><span><strong>authwatch</strong> {orgs}</span><span>{} UTC</span></header>\n\
         <p id=\"stale\" class=\"why\" role=\"alert\">This page is not live: its numbers are from <span id=\"since\"></span>.</p>\n\
         {main}\n<footer>authwatch {} · <a href=\"/api/v1/status\">status</a> · <a href=\"/api/v1/incidents\">incidents</a> · \
         <a href=\"/api/v1/series\">series</a> · <a href=\"/metrics\">metrics</a> · <a href=\"/readyz?verbose\">readiness</a></footer>\n\
         </body>\n</html>\n",
        now.to_utc().format("%H:%M:%S"),
        escape(view.status.version),
    )
}

fn incidents(incidents: &[Incident], now: Timestamp) -> String {
    if incidents.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for incident in incidents.iter().take(MAX_INCIDENTS) {
        let until =
            incident.resolved_at.map_or("open".to_owned(), |at| format!("resolved {}", sentence::clock(at, now)));
        rows += &format!(
            "<tr><td>{}</td><td class=\"number\">{}</td><td>{}</td><td>{}</td><td><code>{}</code></td></tr>\n",
            escape(&incident.title),
            sentence::number(incident.people),
            sentence::clock(incident.onset, now),
            until,
            escape(&incident.key),
        );
    }
    if incidents.len() > MAX_INCIDENTS {
        let more = incidents.len() - MAX_INCIDENTS;
        rows += &format!("<tr><td colspan=\"5\"><a href=\"/api/v1/incidents\">and {more} more</a></td></tr>\n");
    }
    table(
        "Incidents",
        &[("What", false), ("People refused", true), ("Since", false), ("State", false), ("Key", false)],
        &rows,
    )
}

fn sources(sources: &[SourceStatus]) -> String {
    if sources.is_empty() {
        return String::new();
    }
    let mut rows = String::new();
    for source in sources {
        let lag = source.lag_seconds.map_or("–".to_owned(), sentence::duration);
        let state = if source.ready { "delivers" } else { "does not deliver" };
        rows += &format!(
            "<tr><td><code>{}</code></td><td>{state}</td><td class=\"number\">{lag}</td></tr>\n",
            escape(source.name.as_str())
        );
    }
    table("Sources", &[("Source", false), ("State", false), ("Behind", true)], &rows)
}

fn counts(view: &View) -> String {
    let status = &view.status;
    if status.started.is_none() {
        return String::new();
    }
    let rejected: u64 = status.rejected.values().sum();
    let rows = [
        ("Events", status.events),
        ("Seen before", status.duplicates),
        ("Late", status.late),
        ("Not readable", rejected),
    ];
    let rows = rows.iter().fold(String::new(), |mut rows, (name, count)| {
        // Writing to a string cannot fail.
        let _ = writeln!(rows, "<tr><td>{name}</td><td class=\"number\">{}</td></tr>", sentence::number(*count));
        rows
    });
    table("Records", &[("Since the state was created", false), ("Count", true)], &rows)
}

fn table(title: &str, columns: &[(&str, bool)], rows: &str) -> String {
    let heads: String = columns
        .iter()
        .map(|(name, number)| {
            format!("<th scope=\"col\"{}>{name}</th>", if *number { " class=\"number\"" } else { "" })
        })
        .collect();
    format!(
        "<h2>{title}</h2>\n<div class=\"scroll\"><table>\n<thead><tr>{heads}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// Text for HTML, between tags and inside quoted attributes.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Org, SourceName};

    #[test]
    fn what_the_log_said_cannot_become_markup() {
        let mut view = View::default();
        view.status.orgs = vec![Org::new("<b>acme</b>")];
        view.status.sources =
            vec![SourceStatus { name: SourceName::new("\"><script>x</script>"), lag_seconds: None, ready: false }];
        let html = render(&view, Timestamp(0));
        assert!(!html.contains("<b>") && !html.contains("<script>x"), "{html}");
        assert!(html.contains("&lt;b&gt;acme&lt;/b&gt;"), "{html}");
    }

    #[test]
    fn sections_without_content_are_left_out() {
        let html = render(&View::default(), Timestamp(0));
        assert!(!html.contains("<h2>"), "{html}");
    }
}
