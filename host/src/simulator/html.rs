//! Plain pages: a head, tables, escaping; nothing here runs in the browser.

use std::fmt::Write as _;

const STYLE: &str = "body{font:14px/1.5 system-ui,sans-serif;margin:2rem;color:#1c2430}\
table{border-collapse:collapse;margin-bottom:2rem}caption{text-align:left;font-weight:600;padding:.3rem 0}\
td,th{border:1px solid #d5dae2;padding:.25rem .6rem;text-align:left;vertical-align:top}th{background:#f3f5f8}\
code,pre{font-size:12px}label{display:block;margin:.4rem 0}input,select{font:inherit;min-width:20rem}";

/// What stands in one cell.
pub(super) enum Cell {
    Text(String),
    Link { to: String, text: String },
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

/// A whole page; `body` is HTML already.
pub(super) fn page(title: &str, body: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>{title}</title>\
         <style>{STYLE}</style></head><body><h1>{title}</h1>{body}</body></html>"
    )
}

pub(super) fn table<const N: usize>(
    html: &mut String,
    caption: &str,
    heads: [&str; N],
    rows: impl Iterator<Item = [Cell; N]>,
) {
    let _ = write!(html, "<table><caption>{}</caption><tr>", escape(caption));
    for head in heads {
        let _ = write!(html, "<th>{head}</th>");
    }
    html.push_str("</tr>");
    for row in rows {
        html.push_str("<tr>");
        for cell in row {
            let _ = match cell {
                Cell::Text(text) => write!(html, "<td>{}</td>", escape(&text)),
                Cell::Link { to, text } => write!(
                    html,
                    "<td><a href=\"{}\">{}</a></td>",
                    escape(&to),
                    escape(&text)
                ),
            };
        }
        html.push_str("</tr>");
    }
    html.push_str("</table>");
}

pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\n', "<br>")
}
