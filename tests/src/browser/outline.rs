//! What a screen reader is told of a page, as text that survives another look: one line for each thing that has a role
//! and a name. Times, running text and what versions of the browser tell differently are left out, so that the same page
//! says the same tomorrow.

use std::collections::HashMap;

use serde_json::Value;

/// Roles that people find their way by.
const TOLD: &[&str] = &[
    "alert",
    "banner",
    "button",
    "checkbox",
    "columnheader",
    "combobox",
    "DisclosureTriangle",
    "form",
    "group",
    "heading",
    "image",
    "link",
    "main",
    "navigation",
    "radio",
    "region",
    "rowheader",
    "search",
    "searchbox",
    "spinbutton",
    "status",
    "table",
    "textbox",
];

/// States that are told with a name.
const STATES: &[&str] = &["checked", "disabled", "expanded", "invalid", "required"];

/// The part of the tree that has this role and name; none where there is none.
pub(super) fn of(nodes: &[Value], role: &str, name: &str) -> Option<String> {
    let ids = nodes
        .iter()
        .filter_map(|node| Some((node["nodeId"].as_str()?, node)));
    let tree = Tree(ids.collect());
    let is_it = |node: &&Value| !ignored(node) && role_of(node) == role && name_of(node) == name;
    let root = nodes.iter().find(is_it)?;
    let mut text = String::new();
    tree.write(root, 0, &mut text);
    Some(text)
}

fn ignored(node: &Value) -> bool {
    node["ignored"] == true
}

fn role_of(node: &Value) -> &str {
    node["role"]["value"].as_str().unwrap_or_default()
}

fn name_of(node: &Value) -> &str {
    node["name"]["value"].as_str().unwrap_or_default()
}

/// Nodes by their ids.
struct Tree<'a>(HashMap<&'a str, &'a Value>);

impl Tree<'_> {
    fn children<'b>(&'b self, node: &'b Value) -> impl Iterator<Item = &'b Value> {
        let ids = node["childIds"].as_array().into_iter().flatten();
        ids.filter_map(|id| self.0.get(id.as_str()?).copied())
    }

    fn holds_a_time(&self, node: &Value) -> bool {
        role_of(node) == "time" || self.children(node).any(|child| self.holds_a_time(child))
    }

    fn write(&self, node: &Value, depth: usize, text: &mut String) {
        let role = role_of(node);
        let name = name_of(node).split_whitespace().collect::<Vec<_>>();
        let name = name.join(" ");
        // A form without a name is no landmark; some versions tell of it all the same.
        let is_bare_form = role == "form" && name.is_empty();
        let is_told = !ignored(node) && TOLD.contains(&role) && !is_bare_form;
        if is_told {
            text.push_str(&"  ".repeat(depth));
            text.push_str(role);
            let is_leaf = ["link", "rowheader", "button"].contains(&role);
            match name.as_str() {
                "" => {}
                _ if is_leaf && self.holds_a_time(node) => text.push_str(" (time)"),
                name => text.push_str(&format!(" {name:?}")),
            }
            for property in node["properties"].as_array().into_iter().flatten() {
                let state = property["name"].as_str().unwrap_or_default();
                let value = &property["value"]["value"];
                let is_so = STATES.contains(&state) && *value != false && *value != "false";
                if is_so {
                    text.push_str(&format!(" {state}"));
                }
            }
            text.push('\n');
        }
        for child in self.children(node) {
            self.write(child, depth + usize::from(is_told), text);
        }
    }
}
