//! The inventory: which flow runs what.

use askama::Template;
use axum::extract::State;
use axum::response::Response;

use super::visit::{Frame, Visit, html};
use crate::web::Web;
use crate::web::api::inventory::{self, Runs};
use crate::web::api::list::Which;
use crate::web::fault::Fault;

#[derive(Template)]
#[template(path = "inventory.html")]
struct InventoryPage {
    frame: Frame,
    lines: Vec<Line>,
}

struct Line {
    runs: Runs,
    /// Such as `registrations 1.2.0`; empty while it is not loaded.
    component: String,
    /// The component's digest, short and whole.
    short: String,
    digest: String,
    release: String,
}

/// Lists what every flow runs.
pub async fn list(State(web): State<Web>, visit: Visit) -> Result<Response, Fault> {
    let runs = inventory::all(&web, &Which::default()).await?;
    let lines = runs.into_iter().map(|runs| {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let component = format!(
            "{} {}",
            text(&runs.component_name),
            text(&runs.component_version)
        );
        let digest = runs.component.as_ref().map(ToString::to_string);
        let digest = digest.unwrap_or_default();
        Line {
            component: component.trim().to_owned(),
            short: digest.chars().take(12).collect(),
            digest,
            release: runs
                .release_number
                .map(|number| number.to_string())
                .unwrap_or_default(),
            runs,
        }
    });
    html(&InventoryPage {
        frame: visit.frame("flows"),
        lines: lines.collect(),
    })
}
